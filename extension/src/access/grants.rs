//! Giving and taking permissions.

use crate::access::expiry;
use crate::access::identity::{self, Caller};
use crate::access::names::{check_identifier, check_prefix, check_service};
use crate::access::rights::{Permission, Rights};
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::backend::timestamp;
use crate::error::{Error, Result};
use crate::{gucs, id};
use pgrx::pg_sys;
use serde_json::json;

/// What grantee, project and prefix may be together, in bytes: an index holds all of them in one entry.
const LONGEST_KEY: usize = 2400;

/// A grant as a caller names it.
struct Named {
    kind: &'static str,
    grantee: String,
    permission: Permission,
    project: Option<String>,
    service: Option<String>,
    name_prefix: Option<String>,
}

impl Named {
    /// `(grantee, permission, project_id, service, kind, name_prefix)`. Without a kind the grantee is
    /// the database role of that name, if there is one, else a subject.
    fn read(arguments: &Arguments<'_>) -> Result<Self> {
        let grantee = arguments.required_text(0, "grantee")?;
        check_identifier("grantee", &grantee)?;
        let permission = Permission::parse(&arguments.required_text(1, "permission")?)?;
        let project = arguments.text(2)?;
        if let Some(project) = &project {
            check_identifier("project_id", project)?;
        }
        let service = arguments.text(3)?;
        if let Some(service) = &service {
            check_service(service)?;
            if permission != Permission::Read {
                return Err(Error::bad_input(
                    "only the permission read can be bound to a service",
                ));
            }
        }
        if permission == Permission::Admin && project.is_some() {
            return Err(
                Error::bad_input("the permission admin holds for every project").with_hint(
                    "Leave project_id out, or give the permissions that are needed one by one.",
                ),
            );
        }
        let name_prefix = arguments.text(5)?;
        if let Some(prefix) = &name_prefix {
            check_prefix(prefix)?;
            if project.is_none() {
                return Err(
                    Error::bad_input("name_prefix is about the names of one project")
                        .with_hint("Give its project_id too."),
                );
            }
        }
        let part = |text: &Option<String>| text.as_deref().map_or(0, str::len);
        if grantee.len() + part(&project) + part(&name_prefix) > LONGEST_KEY {
            return Err(Error::bad_input(format!(
                "grantee, project_id and name_prefix must have at most {LONGEST_KEY} bytes together"
            )));
        }
        let kind = match arguments.text(4)?.as_deref() {
            Some("role") => "role",
            Some("subject") => "subject",
            Some(_) => return Err(Error::bad_input("kind is role or subject")),
            None if identity::role_named(&grantee).is_some() => "role",
            None => "subject",
        };
        Ok(Self {
            kind,
            grantee,
            permission,
            project,
            service,
            name_prefix,
        })
    }

    fn record(&self, action: &'static str, rights: &Rights) -> Record {
        let mut record = Record::new(action);
        record.project_id = self.project.clone();
        record.service = self.service.clone();
        record.detail = Some(json!({
            "kind": self.kind,
            "grantee": self.grantee,
            "permission": self.permission.name(),
        }));
        if let Some(prefix) = &self.name_prefix {
            record.add_detail("name_prefix", json!(prefix));
        }
        record.by_administrator(rights.is_administrator())
    }

    fn params(&self) -> [Param<'_>; 6] {
        [
            Param::Text(Some(self.kind)),
            Param::Text(Some(&self.grantee)),
            Param::Text(Some(self.permission.name())),
            Param::Text(self.project.as_deref()),
            Param::Text(self.service.as_deref()),
            Param::Text(self.name_prefix.as_deref()),
        ]
    }
}

/// Who may change a grant: a manager of its project or, where it is for names that begin with
/// something, of all such names; for admin and for all projects an administrator. A manager may give
/// whatever permission there is on what is managed, also one that he has not himself.
fn require_manager(session: &Session, caller: &Caller, named: &Named) -> Result<Rights> {
    let rights = match (&named.project, &named.name_prefix) {
        // What fits the prefix fits all names that begin with it.
        (Some(project), Some(prefix)) => Rights::on(session, caller, project, prefix)?,
        (project, _) => Rights::of(session, caller, project.as_deref())?,
    };
    if named.project.is_none() && !rights.is_administrator() {
        return Err(Error::forbidden(
            "permission denied: a grant for every project is an administrator's to change",
        ));
    }
    rights.require(Permission::Manage)?;
    Ok(rights)
}

/// What a grant to a role needs beside those to subjects: which role that is, under a lock that lets
/// changes for one role come one after the other, since whether it keeps its EXECUTE depends on all
/// of them.
fn lock_grantee(named: &Named) -> Result<Option<pg_sys::Oid>> {
    if named.kind != "role" {
        return Ok(None);
    }
    let find = || identity::role_named(&named.grantee);
    if let Some(role) = find() {
        identity::lock_role(role);
        // It may have been dropped, and made anew, before the lock was there.
        if find() == Some(role) {
            return Ok(Some(role));
        }
    }
    Ok(None)
}

/// What a grant or a revocation begins with: the caller's right to it, looked up again once the lock
/// is there, since who waited for it may have lost the right meanwhile.
fn begin_change(
    session: &Session,
    caller: &Caller,
    named: &Named,
) -> Result<(Rights, Option<pg_sys::Oid>)> {
    require_manager(session, caller, named)?;
    let role = lock_grantee(named)?;
    Ok((require_manager(session, caller, named)?, role))
}

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.grants AS g (kind, grantee, permission, project_id, service, name_prefix, expires_at, id, granted_by, role_oid, cluster) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT ON CONSTRAINT grants_key DO UPDATE SET expires_at = excluded.expires_at, role_oid = excluded.role_oid, cluster = excluded.cluster, granted_by = excluded.granted_by, granted_at = pg_catalog.clock_timestamp() WHERE g.expires_at IS DISTINCT FROM excluded.expires_at OR g.role_oid IS DISTINCT FROM excluded.role_oid OR (g.role_oid IS NOT NULL AND g.cluster <> excluded.cluster)",
);

static SELECT_ONE: Statement = Statement::new(
    c"SELECT g.id, g.kind, g.grantee, g.permission, g.project_id, g.service::text, g.granted_by, g.granted_at, g.name_prefix, g.expires_at FROM control_plane.grants AS g WHERE g.kind = $1 AND g.grantee = $2 AND g.permission = $3 AND g.project_id IS NOT DISTINCT FROM $4 AND g.service IS NOT DISTINCT FROM $5 AND g.name_prefix IS NOT DISTINCT FROM $6",
);

/// grant_project: gives a permission, until it expires; giving it twice is once, and gives it the second
/// end.
pub(crate) fn grant_project<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let named = Named::read(arguments)?;
    let expires_at = expiry::read(arguments, 6)?;
    let (rights, role) = begin_change(session, caller, &named)?;
    if named.kind == "role" {
        let role = role.ok_or_else(|| Error::not_found("no such database role"))?;
        set_execute(session, true, role, &named.grantee)?;
    }
    let [kind, grantee, permission, project, service, prefix] = named.params();
    let mut record = named.record("grant.created", &rights);
    if let Some(end) = expires_at {
        record.add_detail("expires_at", json!(timestamp::of(session, end)?));
    }
    {
        let _declared = changes::declare(caller, record);
        session.run(
            &INSERT,
            &[
                kind,
                grantee,
                permission,
                project,
                service,
                prefix,
                Param::Timestamp(expires_at),
                Param::Uuid(Some(id::new()?)),
                Param::Text(Some(&caller.actor)),
                Param::OptionalOid(role),
                Param::Bigint(identity::cluster()),
            ],
        )?;
    }
    let row = session
        .run(&SELECT_ONE, &named.params())?
        .first()
        .ok_or_else(|| Error::internal("the grant is gone"))?;
    Ok(Answer::One(Composite { row, secret: None }))
}

static DELETE: Statement = Statement::new(
    c"DELETE FROM control_plane.grants AS g WHERE g.kind = $1 AND g.grantee = $2 AND g.permission = $3 AND g.project_id IS NOT DISTINCT FROM $4 AND g.service IS NOT DISTINCT FROM $5 AND g.name_prefix IS NOT DISTINCT FROM $6",
);

static ANY_LEFT: Statement = Statement::new(
    c"SELECT EXISTS (SELECT FROM control_plane.grants AS g WHERE g.kind = 'role' AND g.grantee = $1)",
);

/// revoke_project: takes a grant back, named as it was given.
pub(crate) fn revoke_project<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let named = Named::read(arguments)?;
    let (rights, role) = begin_change(session, caller, &named)?;
    let removed = {
        let _declared = changes::declare(caller, named.record("grant.revoked", &rights));
        session.run(&DELETE, &named.params())?.affected()
    };
    // A trusted login needs its EXECUTE for the subjects that it authenticates.
    let role = role.filter(|_| removed > 0 && !gucs::is_trusted_login(&named.grantee));
    if let Some(role) = role {
        let left = session
            .run(&ANY_LEFT, &[Param::Text(Some(&named.grantee))])?
            .first()
            .and_then(|row| row.boolean(0))
            .unwrap_or(true);
        if !left {
            set_execute(session, false, role, &named.grantee)?;
        }
    }
    Ok(Answer::Integer(i32::try_from(removed).unwrap_or(i32::MAX)))
}

// Given to the role itself: what it inherits may be taken away elsewhere.
static HOLDS_ALL: Statement = Statement::new(
    c"SELECT EXISTS (SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) AS execute CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS usage WHERE p.oid = 'control_plane.get_secret(uuid, text)'::regprocedure AND execute.grantee = $1 AND usage.grantee = $1) AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS a CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS chosen WHERE a.attrelid = 'control_plane.secrets'::regclass AND a.attname = 'id' AND chosen.grantee = $1)",
);

static SET_EXECUTE: Statement = Statement::new(c"SELECT control_plane.set_execute($1, $2)");

/// Lets a role call the functions, and select what is no secret, or no longer. Each function checks its
/// caller by itself, as row security does for each row; without this a grant to a role would need more
/// statements to be of use.
fn set_execute(session: &Session, allowed: bool, role: pg_sys::Oid, name: &str) -> Result<()> {
    let held = session.run(&HOLDS_ALL, &[Param::Oid(role)])?.first();
    if allowed && held.and_then(|row| row.boolean(0)) == Some(true) {
        return Ok(());
    }
    // Two at once would fail on the same rows of the catalogue.
    identity::lock_schema();
    let verb = if allowed { "grant" } else { "revoke" };
    session.run(
        &SET_EXECUTE,
        &[Param::Text(Some(verb)), Param::Text(Some(name))],
    )?;
    Ok(())
}

static SELECT_ALL: Statement = Statement::new(
    c"SELECT g.id, g.kind, g.grantee, g.permission, g.project_id, g.service::text, g.granted_by, g.granted_at, g.name_prefix, g.expires_at FROM control_plane.grants AS g WHERE ($1 IS NULL OR g.project_id IS NULL OR g.project_id = $1) AND ($2::text[] IS NULL OR EXISTS (SELECT FROM unnest($2) AS p (prefix) WHERE pg_catalog.starts_with(g.name_prefix, p.prefix))) ORDER BY g.project_id NULLS FIRST, g.grantee, g.permission, g.service, g.name_prefix",
);

/// project_grants: what was granted for a project, and what holds for all; to a manager of some names
/// what he can change himself. Grants that have expired are shown until they are revoked.
pub(crate) fn project_grants<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.text(0)?;
    let rights = match &project {
        Some(project) => Rights::within(session, caller, project)?,
        None => Rights::of(session, caller, None)?,
    };
    let reach = rights.reach(Permission::Manage)?;
    if project.is_none() && !rights.is_administrator() {
        return Err(Error::forbidden(
            "permission denied: the grants of every project are an administrator's to see",
        )
        .with_hint("Name the project."));
    }
    let params = [
        Param::Text(project.as_deref()),
        Param::Texts(reach.prefixes()),
    ];
    let rows = session.run(&SELECT_ALL, &params)?;
    Ok(Answer::Rows(rows))
}
