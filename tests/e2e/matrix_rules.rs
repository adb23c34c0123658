//! Who may do what, as rules that are made of the permission, of what a grant is for, and of what is asked.
//! The matrices hold every function, table, view and route against them.

use pg_secrets_tests::{Proof, Session};

/// The permissions that can be granted for less than everything.
pub(crate) const PERMISSIONS: [&str; 6] = ["list", "read", "write", "delete", "manage", "audit"];

/// What a grant is for, seen from the project that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Every project.
    Everywhere,
    /// The project.
    Project,
    /// Names of the project that begin as the secrets' do.
    Fitting,
    /// Other names of the project.
    OtherNames,
    /// Another project.
    Elsewhere,
}

/// What the names of all secrets of a scene begin with.
pub(crate) const PREFIX: &str = "name";

/// Somebody with one grant, or with none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Nothing,
    Of(&'static str, Place),
    Admin,
}

/// What somebody is asked to have the permission on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A secret that is there, which one may see or not.
    Secret,
    /// A name, whether or not there is a secret.
    Name,
    /// The project's secrets, of which one is shown those that one may see.
    Listing,
    /// The project as a whole.
    Whole,
    /// An endpoint, which belongs to the project as a whole, and which one may know of or not.
    Endpoint,
    /// All projects.
    Everything,
    /// A token, which administrators alone may know of.
    Token,
    /// What a trusted login does to authenticate somebody.
    Login,
    /// Nothing: there is no right to it, and no harm in it.
    Anyone,
    /// What is for the owner of the extension alone.
    Owner,
    /// What Postgres calls as a trigger.
    Trigger,
}

impl Holder {
    /// Everybody that the matrices try.
    pub(crate) fn all() -> Vec<Self> {
        use Place::{Elsewhere, Everywhere, Fitting, OtherNames, Project};
        let places = [Everywhere, Project, Fitting, OtherNames, Elsewhere];
        let of = |permission| places.map(|place| Self::Of(permission, place));
        let mut all = vec![Self::Nothing, Self::Admin];
        all.extend(PERMISSIONS.into_iter().flat_map(of));
        all
    }

    /// Gives a role or a subject what this holder has.
    pub(crate) async fn grant(self, sql: &Session, to: &str, kind: &str, project: &str) -> Proof {
        let elsewhere = format!("{project}-elsewhere");
        let (permission, project, prefix) = match self {
            Self::Nothing => return Ok(()),
            Self::Admin => ("admin", None, None),
            Self::Of(permission, place) => match place {
                Place::Everywhere => (permission, None, None),
                Place::Project => (permission, Some(project), None),
                Place::Fitting => (permission, Some(project), Some(PREFIX)),
                Place::OtherNames => (permission, Some(project), Some("zz")),
                Place::Elsewhere => (permission, Some(elsewhere.as_str()), None),
            },
        };
        sql.rows(
            "SELECT control_plane.grant_project($1, $2, $3, kind => $4, name_prefix => $5)",
            &[&to, &permission, &project, &kind, &prefix],
        )
        .await?;
        Ok(())
    }

    fn is_for(self, places: &[Place]) -> bool {
        matches!(self, Self::Of(_, place) if places.contains(&place))
    }

    /// Whether he has the permission; `any` is every one but audit, which shows no secrets.
    fn has(self, wanted: &str) -> bool {
        match self {
            Self::Nothing | Self::Admin => false,
            Self::Of(held, _) => held == wanted || (wanted == "any" && held != "audit"),
        }
    }

    /// Whether his grant reaches the scene's names.
    pub(crate) fn reaches_names(self) -> bool {
        self == Self::Admin || self.is_for(&[Place::Everywhere, Place::Project, Place::Fitting])
    }

    /// Whether he may do what needs `permission` in `scope`.
    pub(crate) fn may(self, permission: &str, scope: Scope) -> bool {
        use Place::{Everywhere, Fitting, OtherNames, Project};
        match scope {
            Scope::Anyone => true,
            Scope::Owner | Scope::Trigger | Scope::Login => false,
            _ if self == Self::Admin => true,
            _ if !self.has(permission) => false,
            Scope::Secret | Scope::Name => self.is_for(&[Everywhere, Project, Fitting]),
            Scope::Listing => self.is_for(&[Everywhere, Project, Fitting, OtherNames]),
            Scope::Whole | Scope::Endpoint => self.is_for(&[Everywhere, Project]),
            Scope::Everything | Scope::Token => self.is_for(&[Everywhere]),
        }
    }

    /// The HTTP status by which he is refused: 404 where he may not know that there is something.
    pub(crate) fn refusal(self, scope: Scope) -> u16 {
        use Place::{Everywhere, Fitting, Project};
        let sees = |places: &[Place]| self.has("any") && self.is_for(places);
        match scope {
            Scope::Secret if !sees(&[Everywhere, Project, Fitting]) => 404,
            Scope::Endpoint if !sees(&[Everywhere, Project]) => 404,
            Scope::Token => 404,
            _ => 403,
        }
    }
}
