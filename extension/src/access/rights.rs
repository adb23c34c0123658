//! What a caller may do in a project.

use crate::access::identity::{self, Caller, RightsOf};
use crate::backend::session::{Param, Rows, Session, Statement};
use crate::error::{Error, Result};

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Metadata of secrets and versions.
    List,
    /// Values.
    Read,
    /// Create, rotate, roll back; without reading.
    Write,
    /// Delete and restore.
    Delete,
    /// Endpoints, consumers, grants, policies, generators and schedules.
    Manage,
    /// The audit log.
    Audit,
    /// Everything, in every project.
    Admin,
}

impl Permission {
    /// Its name in grants.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Permission::List => "list",
            Permission::Read => "read",
            Permission::Write => "write",
            Permission::Delete => "delete",
            Permission::Manage => "manage",
            Permission::Audit => "audit",
            Permission::Admin => "admin",
        }
    }

    /// The permission of this name.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        const ALL: [Permission; 7] = [
            Permission::List,
            Permission::Read,
            Permission::Write,
            Permission::Delete,
            Permission::Manage,
            Permission::Audit,
            Permission::Admin,
        ];
        ALL.into_iter()
            .find(|permission| permission.name() == name)
            .ok_or_else(|| {
                Error::bad_input("permission is not known")
                    .with_hint("One of list, read, write, delete, manage, audit, admin.")
            })
    }
}

/// The grants of one caller: for a whole project, for one name in it, or for whatever there is in it.
#[derive(Debug)]
pub(crate) struct Rights {
    administrator: bool,
    grants: Vec<Grant>,
}

#[derive(Debug, Clone)]
struct Grant {
    permission: Permission,
    /// The service that it is bound to.
    service: Option<String>,
    /// What the names begin with that it is for; all of the project where there is none.
    name_prefix: Option<String>,
}

/// Which grants count.
#[derive(Debug, Clone, Copy)]
enum Names<'n> {
    /// Those for every name.
    All,
    /// Those for this name.
    One(&'n str),
    /// Those for any name.
    Any,
}

/// The names that a caller may do something with.
#[derive(Debug)]
pub(crate) enum Reach {
    /// All of the project.
    Everything,
    /// Those that begin with one of these.
    Beginning(Vec<String>),
}

impl Reach {
    /// As a parameter of a statement, which is NULL for all names.
    pub(crate) fn prefixes(&self) -> Option<&[String]> {
        match self {
            Reach::Everything => None,
            Reach::Beginning(prefixes) => Some(prefixes),
        }
    }
}

// A role is the one that the grant was given to: a name that was dropped and made again is somebody
// else. In a cluster that the rows were restored into, role numbers mean nothing; there names count,
// as with every privilege that a dump brings. starts_with compares bytes: nothing in a prefix is a
// wildcard.
static OF_ROLE: Statement = Statement::new(
    c"SELECT g.permission, g.service::text, g.name_prefix FROM control_plane.grants AS g JOIN pg_catalog.pg_roles AS r ON r.rolname = g.grantee WHERE g.kind = 'role' AND (g.cluster <> $5 OR g.role_oid = r.oid) AND (g.project_id IS NULL OR g.project_id = $2) AND (g.name_prefix IS NULL OR $4 OR pg_catalog.starts_with($3, g.name_prefix)) AND (g.expires_at IS NULL OR g.expires_at > pg_catalog.clock_timestamp()) AND pg_catalog.pg_has_role($1, r.oid, 'USAGE')",
);

static OF_SUBJECT: Statement = Statement::new(
    c"SELECT g.permission, g.service::text, g.name_prefix FROM control_plane.grants AS g WHERE g.kind = 'subject' AND g.grantee = $1 AND (g.project_id IS NULL OR g.project_id = $2) AND (g.name_prefix IS NULL OR $4 OR pg_catalog.starts_with($3, g.name_prefix)) AND (g.expires_at IS NULL OR g.expires_at > pg_catalog.clock_timestamp())",
);

impl Rights {
    /// Looks up what `caller` may do in all of `project`. `None` asks for what holds in every project.
    pub(crate) fn of(session: &Session, caller: &Caller, project: Option<&str>) -> Result<Self> {
        Self::look_up(session, caller, project, Names::All)
    }

    /// Looks up what `caller` may do with the secret of this name, whether or not there is one.
    pub(crate) fn on(
        session: &Session,
        caller: &Caller,
        project: &str,
        name: &str,
    ) -> Result<Self> {
        Self::look_up(session, caller, Some(project), Names::One(name))
    }

    /// Looks up what `caller` may do with whatever is in `project`.
    pub(crate) fn within(session: &Session, caller: &Caller, project: &str) -> Result<Self> {
        Self::look_up(session, caller, Some(project), Names::Any)
    }

    fn look_up(
        session: &Session,
        caller: &Caller,
        project: Option<&str>,
        names: Names<'_>,
    ) -> Result<Self> {
        caller.require_known()?;
        if caller.is_superuser() {
            return Ok(Self {
                administrator: true,
                grants: Vec::new(),
            });
        }
        let (name, any) = match names {
            Names::All => (None, false),
            Names::One(name) => (Some(name), false),
            Names::Any => (None, true),
        };
        let [project, name, any] = [Param::Text(project), Param::Text(name), Param::Boolean(any)];
        let rows = match &caller.rights_of {
            RightsOf::Role(role) => {
                let cluster = Param::Bigint(identity::cluster());
                session.run(&OF_ROLE, &[Param::Oid(*role), project, name, any, cluster])?
            }
            RightsOf::Subject(subject) => {
                let subject = Param::Text(Some(subject));
                session.run(&OF_SUBJECT, &[subject, project, name, any])?
            }
            RightsOf::Nobody => return Err(Error::internal("a caller that is not known")),
        };
        Self::read(rows)
    }

    /// The rights of a caller who must be an administrator.
    pub(crate) fn of_administrator(session: &Session, caller: &Caller) -> Result<Self> {
        let rights = Self::of(session, caller, None)?;
        rights.require(Permission::Admin)?;
        Ok(rights)
    }

    /// Refuses who may not read the audit of every project, and of what belongs to none.
    pub(crate) fn require_audit_of_everything(session: &Session, caller: &Caller) -> Result<()> {
        Self::of(session, caller, None)?
            .require(Permission::Audit)
            .map_err(|error| {
                error.with_hint("It is needed on every project, which an administrator can give with control_plane.grant_project().")
            })
    }

    fn read(rows: Rows<'_>) -> Result<Self> {
        let mut grants = Vec::new();
        for row in rows.iter() {
            let name = row.text(0).unwrap_or_default();
            grants.push(Grant {
                permission: Permission::parse(&name)?,
                service: row.text(1),
                name_prefix: row.text(2),
            });
        }
        let administrator = grants
            .iter()
            .any(|grant| grant.permission == Permission::Admin);
        Ok(Self {
            administrator,
            grants,
        })
    }

    /// Whether this is an administrator; uses of that are marked in the record.
    pub(crate) fn is_administrator(&self) -> bool {
        self.administrator
    }

    /// Whether `permission` is granted.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.administrator
            || self
                .grants
                .iter()
                .any(|grant| grant.permission == permission)
    }

    /// What of these rights holds for the secret of this name.
    pub(crate) fn narrowed_to(&self, name: &str) -> Self {
        let fits = |grant: &&Grant| {
            let prefix = grant.name_prefix.as_deref();
            prefix.is_none_or(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
        };
        Self {
            administrator: self.administrator,
            grants: self.grants.iter().filter(fits).cloned().collect(),
        }
    }

    /// The names for which `permission` is granted; refuses where there are none.
    pub(crate) fn reach(&self, permission: Permission) -> Result<Reach> {
        self.require(permission)?;
        if self.administrator {
            return Ok(Reach::Everything);
        }
        let of_permission = |grant: &&Grant| grant.permission == permission;
        let granted = self.grants.iter().filter(of_permission);
        let prefixes: Option<Vec<_>> = granted.map(|grant| grant.name_prefix.clone()).collect();
        Ok(prefixes.map_or(Reach::Everything, Reach::Beginning))
    }

    /// Whether the caller may know that the project's secrets exist: with any permission but audit.
    pub(crate) fn sees_secrets(&self) -> bool {
        self.administrator
            || self
                .grants
                .iter()
                .any(|grant| grant.permission != Permission::Audit)
    }

    /// Refuses without `permission`. Who may not even see secrets of the project is answered as
    /// if there were none.
    pub(crate) fn require_on_secret(&self, permission: Permission) -> Result<()> {
        if self.may(permission) {
            Ok(())
        } else if self.sees_secrets() {
            Err(denied(permission))
        } else {
            Err(Error::no_such_secret())
        }
    }

    /// Refuses who may not manage the project of an endpoint. Who has nothing to do with the project is
    /// answered as if there were no such endpoint.
    pub(crate) fn require_on_endpoint(&self) -> Result<()> {
        self.require_on_secret(Permission::Manage)
            .map_err(|error| match self.sees_secrets() {
                true => error,
                false => Error::no_such_endpoint(),
            })
    }

    /// Refuses without `permission`, where no secret is named that could be hidden.
    pub(crate) fn require(&self, permission: Permission) -> Result<()> {
        if self.may(permission) {
            Ok(())
        } else {
            Err(denied(permission))
        }
    }

    /// Which service a read counts for, and whether that is certain. A token or a grant that is
    /// bound to a service reads under that name and no other.
    pub(crate) fn reading_service(
        &self,
        caller: &Caller,
        named: Option<&str>,
    ) -> Result<ReadingService> {
        let reads: Vec<Option<&str>> = self
            .grants
            .iter()
            .filter(|grant| grant.permission == Permission::Read)
            .map(|grant| grant.service.as_deref())
            .collect();
        let unbound = self.administrator || reads.contains(&None);
        let bound: Vec<&str> = match &caller.service {
            // Both bindings hold: the token's, and those of the grants.
            Some(own) if unbound || reads.contains(&Some(own.as_str())) => vec![own],
            Some(_) => return Err(bound_to_another()),
            None if unbound => Vec::new(),
            None => reads.into_iter().flatten().collect(),
        };
        match (named, bound.as_slice()) {
            (named, []) => Ok(ReadingService {
                name: named.map(str::to_owned),
                verified: false,
            }),
            (None, [only]) => Ok(ReadingService::verified(only)),
            (None, _) => Err(
                Error::forbidden("the read does not say which service reads")
                    .with_hint("The grants are bound to services; name the one that reads."),
            ),
            (Some(named), bound) if bound.contains(&named) => Ok(ReadingService::verified(named)),
            (Some(_), _) => Err(bound_to_another()),
        }
    }
}

/// The service that a read is recorded for.
#[derive(Debug, Clone)]
pub(crate) struct ReadingService {
    pub(crate) name: Option<String>,
    /// Whether the token or grant is bound to it, so that nobody else can use its name.
    pub(crate) verified: bool,
}

impl ReadingService {
    fn verified(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            verified: true,
        }
    }
}

fn bound_to_another() -> Error {
    Error::forbidden("the token or grant is bound to another service")
}

fn denied(permission: Permission) -> Error {
    let hint = if permission == Permission::Admin {
        "An administrator can give it with control_plane.grant_project()."
    } else {
        "An administrator or a manager of the project can give it with control_plane.grant_project()."
    };
    Error::forbidden(format!(
        "permission denied: {} is needed",
        permission.name()
    ))
    .with_hint(hint)
}
