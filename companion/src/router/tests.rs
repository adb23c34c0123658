use super::*;
use crate::database_url;
use crate::db::Database;
use crate::secret_text::SecretText;
use reqwest::{Client, Method, Response};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// What needs no token, and names no secret.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The service on a free port, with a database that does not exist.
async fn start() -> String {
    let url = SecretText::new("postgresql://nobody@%2Fnowhere/none".to_owned());
    let database = Database::new(&database_url::parse(&url).unwrap(), 1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let panics = Router::new()
        .route("/panics", routing::get(panics))
        .layer(from_fn(envelope::wrap));
    let service = router(AppState::new(database, None, None))
        .merge(panics)
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async { axum::serve(listener, service).await });
    ["http://", &address.to_string()].concat()
}

async fn panics() {
    panic!("hunter2");
}

async fn send(client: &Client, method: Method, url: String) -> Response {
    let answer = client.request(method, url).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.headers().contains_key("x-request-id"));
    answer
}

async fn problem(answer: Response) -> (u16, Value) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let (status, id) = (
        answer.status().as_u16(),
        answer.headers()["x-request-id"].clone(),
    );
    let json: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(json["status"], status);
    assert_eq!(json["request_id"], id.to_str().unwrap());
    (status, json)
}

#[tokio::test]
async fn every_api_route_wants_a_token_before_anything_else() {
    let (base, client) = (start().await, Client::new());
    let api: Vec<_> = ROUTES
        .iter()
        .filter(|(_, path)| !OPEN.contains(path))
        .collect();
    assert!(api.len() > 30, "{api:?}");
    for (method, path) in api {
        let method: Method = method.to_uppercase().parse().unwrap();
        let path = path.replace(['{', '}'], "");
        let answer = send(&client, method.clone(), [&base, path.as_str()].concat()).await;
        let challenge = answer.headers().get("www-authenticate");
        assert_eq!(
            challenge.map(|value| value.as_bytes()),
            Some(&b"Bearer"[..]),
            "{method} {path}: {}",
            answer.status()
        );
        assert_eq!(problem(answer).await.0, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn what_no_route_takes_is_a_problem_too() {
    let (base, client) = (start().await, Client::new());
    let unknown = send(&client, Method::GET, [&base, "/nothing"].concat()).await;
    assert_eq!(problem(unknown).await.0, 404);
    let method = send(&client, Method::PATCH, [&base, "/api/secrets"].concat()).await;
    assert!(method.headers().contains_key("allow"));
    assert_eq!(problem(method).await.0, 405);
}

#[tokio::test]
async fn without_a_database_it_lives_and_is_not_ready() {
    let (base, client) = (start().await, Client::new());
    let alive = send(&client, Method::GET, [&base, "/healthz"].concat()).await;
    assert_eq!(alive.status(), 200);
    let ready = send(&client, Method::GET, [&base, "/readyz"].concat()).await;
    assert_eq!(ready.status(), 503);
    assert!(
        ready
            .text()
            .await
            .unwrap()
            .contains(r#""database":"failed""#)
    );
}

#[tokio::test]
async fn a_panic_is_answered_and_its_payload_is_not() {
    let (base, client) = (start().await, Client::new());
    let answer = send(&client, Method::GET, [&base, "/panics"].concat()).await;
    let (status, json) = problem(answer).await;
    assert_eq!(status, 500);
    assert!(!json.to_string().contains("hunter2"));
}
