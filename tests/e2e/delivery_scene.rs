//! What the tests of delivery begin with.

use pg_secrets_tests::{Answer, Proof, Session, Sink, TestApp, eventually};
use serde_json::json;
use uuid::Uuid;

/// The project that all of it is in.
pub(crate) const PROJECT: &str = "rules";

/// A server, a companion, a receiver, and a session of the superuser.
pub(crate) struct Scene {
    pub(crate) app: TestApp,
    pub(crate) sink: Sink,
    pub(crate) sql: Session,
}

/// Starts one, with further settings of the server.
pub(crate) async fn scene(settings: &str) -> Proof<Scene> {
    // A head of the audit would be one webhook more.
    let quiet = "fsync = off\npg_secrets.audit_head_interval = 0";
    let app = TestApp::start(&format!("{quiet}\n{settings}")).await;
    let sql = app.sql().await?;
    Ok(Scene {
        sink: Sink::start().await,
        sql,
        app,
    })
}

impl Scene {
    /// An endpoint of the project, at a path of the sink.
    pub(crate) async fn endpoint(&self, path: &str) -> Proof<String> {
        let body = json!({"project_id": PROJECT, "url": self.sink.url(path)});
        let made = self
            .app
            .api()
            .post("/api/webhooks", body)
            .await?
            .expect(201)?;
        Ok(made.id().to_owned())
    }

    /// A new secret, of which the endpoints are told.
    pub(crate) async fn create(&self, name: &str) -> Proof<Uuid> {
        let create = "SELECT id FROM control_plane.create_secret($1, $2, 'a value')";
        Ok(self.sql.one(create, &[&PROJECT, &name]).await?)
    }

    /// Another version; answers its id.
    pub(crate) async fn rotate(&self, id: Uuid) -> Proof<Uuid> {
        let rotate = "SELECT id FROM control_plane.rotate_secret($1, 'another value')";
        Ok(self.sql.one(rotate, &[&id]).await?)
    }

    /// The endpoint, as the API shows it.
    pub(crate) async fn get(&self, endpoint: &str) -> Proof<Answer> {
        let path = format!("/api/webhooks/{endpoint}");
        Ok(self.app.api().get(&path).await?.expect(200)?)
    }

    /// Waits until so many deliveries to the endpoint have this status.
    pub(crate) async fn wait(&self, endpoint: &str, status: &str, count: i64) {
        let statement = "SELECT count(*) FROM control_plane.deliveries WHERE endpoint_id = $1::text::uuid AND status = $2";
        eventually(&format!("{count} {status}"), || async {
            let found: i64 = self.sql.one(statement, &[&endpoint, &status]).await.ok()?;
            (found == count).then_some(())
        })
        .await;
    }

    /// The time until the next try, in seconds.
    pub(crate) async fn wait_in_seconds(&self, endpoint: &str) -> f64 {
        let statement = "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8
            FROM control_plane.deliveries
            WHERE endpoint_id = $1::text::uuid AND attempts > 0 AND leased_until IS NULL";
        eventually("the end of a try", || async {
            self.sql.one(statement, &[&endpoint]).await.ok()
        })
        .await
    }
}
