//! Every route of the companion, for everybody: exactly what is allowed succeeds. Which routes there are
//! comes from the companion's own table.

use crate::matrix_rules::Scope::{Endpoint, Everything, Listing, Name, Secret, Token, Whole};
use crate::matrix_rules::{Holder, Scope};
use pg_secrets_tests::{Proof, Session, TestApp, project};
use std::collections::BTreeSet;
use uuid::Uuid;

macro_rules! route_table {
    ($($method:ident $path:literal => $($handler:ident)::+;)*) => {
        const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];
    };
}

include!("../../companion/src/route_table.rs");

/// What needs no token, and names no secret.
const OPEN: [(&str, &str); 3] = [("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics")];

/// At least one request to every route of `/api`: the method; the path as it stands in the table, and the
/// query; the permission and its scope; the status for who may; the body, where there is one. In paths
/// `{id}` is what they are about; for queries and bodies see `Scene::filled`.
const REQUESTS: &str = r#"
post /api/secrets write Name 201 {"project_id": "P", "name": "name NEW", "value": "v"}
get /api/secrets?project_id=P list Listing 200
get /api/secrets?project_id=P&state=deleted list Listing 200
get /api/secrets/{id} read Secret 200
delete /api/secrets/{id} delete Secret 200
delete /api/secrets/{id}?dry_run=true delete Secret 200
get /api/secrets/{id}/versions list Secret 200
get /api/secrets/{id}/versions/{version} read Secret 200
post /api/secrets/{id}/rotate write Secret 201 {"value": "v"}
post /api/secrets/{id}/rotate?dry_run=true write Secret 200 {}
post /api/secrets/{id}/rollback write Secret 201 {"to_version": 1}
post /api/secrets/{id}/restore delete Secret 200
post /api/secrets/{id}/purge admin Secret 200
post /api/secrets/{id}/extend-grace write Secret 200 {"by": 60}
post /api/secrets/{id}/end-grace?dry_run=true write Secret 200
post /api/secrets/{id}/end-grace write Secret 200
put /api/secrets/{id}/rotation manage Secret 200 {}
get /api/secrets/{id}/consumers list Secret 200
put /api/secrets/{id}/consumers/{service} manage Secret 204
delete /api/secrets/{id}/consumers/{service} manage Secret 204
get /api/projects/{project_id}/secrets/{name} read Secret 200
post /api/projects/{project_id}/read read Listing 200 {}
get /api/projects/{project_id}/policy manage Whole 200
put /api/projects/{project_id}/policy manage Whole 200 {}
post /api/tokens admin Everything 201 {"subject": "somebody"}
get /api/tokens admin Everything 200
delete /api/tokens/{id} admin Token 204
post /api/grants manage Whole 201 {"grantee": "somebody", "permission": "read", "project_id": "P"}
post /api/grants manage Name 201 {"grantee": "somebody", "permission": "read", "project_id": "P", "name_prefix": "name"}
post /api/grants admin Everything 201 {"grantee": "somebody", "permission": "admin", "kind": "subject"}
get /api/grants?project_id=P manage Listing 200
delete /api/grants?grantee=NEW&permission=read&project_id=P manage Whole 204
get /api/audit?project_id=P audit Listing 200
get /api/audit?secret_id=S audit Secret 200
get /api/audit audit Everything 200
get /api/audit/head audit Everything 200
post /api/webhooks manage Whole 201 {"project_id": "P", "url": "http://127.0.0.1:9/", "event_types": ["secret.expiring"]}
get /api/webhooks?project_id=P manage Whole 200
get /api/webhooks/{id} manage Endpoint 200
patch /api/webhooks/{id} manage Endpoint 200 {"event_types": null}
delete /api/webhooks/{id} manage Endpoint 204
post /api/webhooks/{id}/rotate-secret manage Endpoint 200 {}
post /api/webhooks/{id}/ping manage Endpoint 202 {}
post /api/webhooks/{id}/redeliver manage Endpoint 202 {"since": "2020-01-01T00:00:00Z"}
get /api/webhooks/{id}/deliveries manage Endpoint 200
"#;

/// One of `REQUESTS`.
struct Request {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    permission: &'static str,
    scope: Scope,
    status: u16,
    body: &'static str,
}

fn requests() -> Vec<Request> {
    let lines = REQUESTS.lines().filter(|line| !line.is_empty());
    let request = |line: &'static str| {
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (method, at, permission) = (word(), word(), word());
        let (path, query) = at.split_at(at.find('?').unwrap_or(at.len()));
        let scope = match word() {
            "Secret" => Secret,
            "Name" => Name,
            "Listing" => Listing,
            "Whole" => Whole,
            "Endpoint" => Endpoint,
            "Everything" => Everything,
            "Token" => Token,
            other => panic!("no scope: {other}"),
        };
        Request {
            method,
            path,
            query,
            permission,
            scope,
            status: word().parse().expect("a status"),
            body: word(),
        }
    };
    lines.map(request).collect()
}

/// What the requests are about. What one of them changes is made anew.
struct Scene {
    project: String,
    /// Part of the secret's name, and a subject with a grant.
    new: String,
    current: Uuid,
    in_grace: Uuid,
    deleted: Uuid,
    endpoint: Uuid,
    token: Uuid,
}

impl Scene {
    async fn new(sql: &Session, project: &str) -> Proof<Self> {
        let new = Uuid::new_v4().simple().to_string();
        let row = sql
            .rows(
                "SELECT
                    (control_plane.rotate_secret(made.id, 'new')).id, made.id,
                    (control_plane.delete_secret(removed.id)).id, endpoint.id,
                    control_plane.token_id(control_plane.create_token($2)),
                    control_plane.register_consumer(made.id, 'service')::text,
                    (control_plane.grant_project($2, 'read', $1, kind => 'subject')).grantee
                 FROM control_plane.create_secret($1, 'name ' || $2, 'old') AS made,
                 control_plane.create_secret($1, 'name deleted ' || $2, 'old') AS removed,
                 control_plane.create_endpoint($1, 'http://192.0.2.1/', event_types => '{secret.expiring}') AS endpoint",
                &[&project, &new],
            )
            .await?
            .remove(0);
        Ok(Self {
            project: project.to_owned(),
            current: row.get(0),
            in_grace: row.get(1),
            deleted: row.get(2),
            endpoint: row.get(3),
            token: row.get(4),
            new,
        })
    }

    /// The path with what it is about.
    fn path(&self, path: &str) -> String {
        let id = match path.rsplit('/').next() {
            _ if path.starts_with("/api/tokens") => self.token,
            _ if path.starts_with("/api/webhooks") => self.endpoint,
            Some("extend-grace" | "end-grace") => self.in_grace,
            Some("restore" | "purge") => self.deleted,
            _ => self.current,
        };
        path.replace("{id}", &id.to_string())
            .replace("{version}", "1")
            .replace("{service}", "service")
            .replace("{project_id}", &self.project)
            .replace("{name}", &format!("name%20{}", self.new))
    }

    /// A query or a body with `P` for the project, `S` for the secret, `NEW` for what is this scene's own.
    fn filled(&self, text: &str) -> String {
        let quoted = text.replace("\"P\"", &format!("\"{}\"", self.project));
        quoted
            .replace("project_id=P", &format!("project_id={}", self.project))
            .replace("secret_id=S", &format!("secret_id={}", self.current))
            .replace("name NEW", &format!("name made {}", self.new))
            .replace("grantee=NEW", &format!("grantee={}", self.new))
    }
}

#[test]
fn every_route_has_its_rule() {
    let routes: BTreeSet<_> = ROUTES.iter().copied().collect();
    let mut known: BTreeSet<_> = requests().iter().map(|r| (r.method, r.path)).collect();
    known.extend(OPEN);
    assert_eq!(routes, known, "the routes, and those with a rule");
    assert_eq!(routes.len(), ROUTES.len(), "a route stands there twice");
}

#[tokio::test]
async fn every_route_is_for_exactly_those_who_may() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    let project = project("routes");
    let requests = requests();
    let open = app.api_as("pgs_wrong");
    let mut wrong = Vec::new();
    let mut scene = Scene::new(&sql, &project).await?;
    for holder in Holder::all() {
        let subject = Uuid::new_v4().to_string();
        holder.grant(&sql, &subject, "subject", &project).await?;
        let token: String = sql
            .one("SELECT control_plane.create_token($1)", &[&subject])
            .await?;
        let api = open.with_token(&token);
        for request in &requests {
            let Request {
                method,
                path,
                query,
                ..
            } = request;
            let scope = request.scope;
            let at = format!("{}{}", scene.path(path), scene.filled(query));
            let filled = scene.filled(request.body);
            let body = Some(filled.as_str()).filter(|body| !body.is_empty());
            let answer = api.send(method, &at, body, &[]).await?;
            let expected = match holder.may(request.permission, scope) {
                true => request.status,
                false => holder.refusal(scope),
            };
            let cell = format!("{holder:?}: {method} {path}{query}");
            if answer.status != expected {
                wrong.push(format!("{cell}: {} for {expected}", answer.body));
            }
            let shown = answer.body.to_string().contains(&scene.current.to_string());
            if scope == Listing && *method == "get" && shown {
                assert!(holder.reaches_names(), "{cell}: {}", answer.body);
            }
            // Without a token nobody is let in, whatever there is.
            if holder == Holder::Nothing {
                let open = open.send(method, &at, body, &[]).await?;
                assert_eq!(open.status, 401, "{cell}: {}", open.body);
            }
            if *method != "get" && answer.status < 300 {
                scene = Scene::new(&sql, &project).await?;
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells: {wrong:#?}", wrong.len());
    Ok(())
}
