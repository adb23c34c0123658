use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A delivery to this URL.
pub(in crate::webhooks) fn delivery(url: &str) -> Delivery {
    Delivery {
        id: Uuid::nil(),
        endpoint: Uuid::nil(),
        attempt: 1,
        url: SecretText::new(url.to_owned()),
        webhook_id: "id".to_owned(),
        webhook_timestamp: 1,
        webhook_signature: "v1,".to_owned(),
        body: "{}".to_owned(),
    }
}

fn sender(allow: AllowList) -> Sender {
    Sender::new(&WebhookConfig {
        allow,
        timeout: Duration::from_secs(5),
        poll_interval: Duration::from_secs(1),
    })
    .unwrap()
}

#[tokio::test]
async fn a_name_that_resolves_to_a_refused_address_is_not_connected_to() {
    let (outcome, _) = sender(AllowList::global())
        .send(&delivery("https://localhost/"))
        .await;
    assert_eq!(outcome, Outcome::Refused(Refused::Address));
    assert_eq!(outcome.status(), None);
    assert_eq!(
        outcome.error().as_deref(),
        Some("refused destination: it has no address that is allowed")
    );
}

#[tokio::test]
async fn what_cannot_be_sent_fails_with_a_short_kind() {
    let sender = sender("127.0.0.0/8".parse().unwrap());
    // Nobody listens on the first port; on the second, nobody who speaks TLS.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let plain = receiver(OK, b"x".to_vec(), Duration::ZERO).await;
    let plain = plain.replace("http://", "https://");
    for (url, kind) in [
        ("no url", "invalid URL"),
        ("https://999.1.1.1/", "invalid URL"),
        (&nobody, "connection refused"),
        (&plain, "tls"),
    ] {
        assert_eq!(
            sender.send(&delivery(url)).await.0,
            Outcome::Failed(kind),
            "{url}"
        );
    }
}

#[test]
fn a_receiver_says_when_to_come_back_in_seconds_or_by_a_date() {
    let date = "Wed, 21 Oct 2026 07:28:00 GMT";
    for (after, own, expected) in [
        ("120", None, Some(120)),
        (" 0 ", None, Some(0)),
        ("99999999999", None, Some(i32::MAX)),
        ("99999999999999999999999", None, Some(i32::MAX)),
        ("", None, None),
        ("4294967295", None, Some(i32::MAX)),
        ("-1", None, None),
        ("soon", Some(date), None),
        ("Wed, 21 Oct 2026 07:29:30 GMT", Some(date), Some(90)),
        ("Wed, 21 Oct 2026 07:27:00 GMT", Some(date), Some(0)),
        ("Thu, 31 Dec 9998 23:59:59 GMT", Some(date), Some(i32::MAX)),
        ("Wed, 21 Oct 2026 07:29:30 GMT", None, None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, after.parse().unwrap());
        if let Some(own) = own {
            headers.insert(DATE, own.parse().unwrap());
        }
        assert_eq!(retry_after(&headers), expected, "{after}");
    }
    assert_eq!(retry_after(&HeaderMap::new()), None);
}

#[test]
fn an_outcome_shows_nothing_of_the_answer_in_debug() {
    let answer = Answer {
        status: 500,
        retry_after: None,
        beginning: Some("hunter2".to_owned()),
    };
    assert!(!format!("{:?}", Outcome::Answered(answer)).contains("hunter2"));
}

#[test]
fn a_delivery_shows_no_url_in_debug() {
    let shown = format!("{:?}", delivery("https://hooks.example/hunter2"));
    assert!(!shown.contains("hunter2"));
}

/// A receiver that reads a request and then writes what it is given, part by part with a pause between, as
/// long as it is let; answers its URL.
async fn receiver(head: &'static str, part: Vec<u8>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).await;
        let mut sent = connection.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            sent = connection.write_all(&part).await;
            tokio::time::sleep(pause).await;
        }
    });
    url
}

async fn answered(url: &str) -> (Answer, Duration) {
    let begun = Instant::now();
    let sender = sender("127.0.0.0/8".parse().unwrap());
    let Outcome::Answered(answer) = sender.send(&delivery(url)).await.0 else {
        panic!("no answer");
    };
    (answer, begun.elapsed())
}

const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[tokio::test]
async fn of_an_answer_without_end_the_beginning_is_read() {
    let url = receiver(OK, b"word ".repeat(20_000), Duration::ZERO).await;
    let (answer, took) = answered(&url).await;
    assert_eq!(answer.status, 200);
    assert!(took < ANSWER_TIME, "{took:?}");
    let beginning = answer.beginning.unwrap();
    assert!((ANSWER_TOLD - 5..=ANSWER_TOLD).contains(&beginning.len()));
    assert!(beginning.ends_with("word "), "{beginning}");
}

#[tokio::test]
async fn an_answer_that_drips_holds_up_nothing_and_its_status_counts() {
    let url = receiver(OK, b"x y".to_vec(), Duration::from_millis(100)).await;
    let (answer, took) = answered(&url).await;
    assert_eq!(answer.status, 200);
    assert!(took < ANSWER_TIME + Duration::from_secs(3), "{took:?}");
    let beginning = answer.beginning.unwrap();
    assert!(beginning.len() < 150);
    // What came last may be the beginning of something longer.
    assert!(beginning.ends_with(' '), "{beginning}");
}

#[tokio::test]
async fn nothing_of_an_encoded_answer_is_told() {
    let encoded = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\n";
    let url = receiver(encoded, b"12345".to_vec(), Duration::from_secs(1)).await;
    let (answer, _) = answered(&url).await;
    assert_eq!((answer.status, answer.beginning), (200, None));
}

#[tokio::test]
async fn headers_without_end_are_no_answer() {
    let head = "HTTP/1.1 200 OK\r\n";
    let header = format!("x: {}\r\n", "y".repeat(1000)).into_bytes();
    let url = receiver(head, header, Duration::ZERO).await;
    let outcome = sender("127.0.0.0/8".parse().unwrap())
        .send(&delivery(&url))
        .await
        .0;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_status_that_does_not_come_is_waited_for_as_long_as_configured() {
    let url = receiver("HTTP/1.1 ", Vec::new(), Duration::from_millis(100)).await;
    let config = WebhookConfig {
        allow: "127.0.0.0/8".parse().unwrap(),
        timeout: Duration::from_millis(300),
        poll_interval: Duration::from_secs(1),
    };
    let begun = Instant::now();
    let outcome = Sender::new(&config).unwrap().send(&delivery(&url)).await;
    assert_eq!(outcome.0, Outcome::Failed("timeout"));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}
