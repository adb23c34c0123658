use super::*;
use crate::config::WebhookConfig;
use crate::webhooks::deliver::tests::delivery;
use crate::webhooks::deliver::{Outcome, Sender};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

#[test]
fn by_default_only_global_addresses_are_allowed() {
    for (address, expected) in [
        ("1.1.1.1", true),
        ("8.8.8.8", true),
        ("172.15.255.255", true),
        ("172.32.0.0", true),
        ("100.63.255.255", true),
        ("100.128.0.0", true),
        ("223.255.255.255", true),
        ("2606:4700:4700::1111", true),
        ("2a00:1450:4001::1", true),
        ("::ffff:1.1.1.1", true),
        // just outside of what is special
        ("9.255.255.255", true),
        ("11.0.0.0", true),
        ("126.255.255.255", true),
        ("128.0.0.1", true),
        ("169.253.255.255", true),
        ("169.255.0.0", true),
        ("168.63.129.15", true),
        ("192.167.255.255", true),
        ("192.169.0.0", true),
        ("198.17.255.255", true),
        ("198.20.0.0", true),
        // unspecified, this network
        ("0.0.0.0", false),
        ("0.1.2.3", false),
        ("::", false),
        // loopback
        ("127.0.0.1", false),
        ("127.255.255.255", false),
        ("::1", false),
        // private, unique local, site-local
        ("10.0.0.1", false),
        ("172.16.0.1", false),
        ("172.31.255.255", false),
        ("192.168.1.1", false),
        ("fc00::1", false),
        ("fd00:ec2::254", false),
        ("fec0::1", false),
        // shared, link-local, metadata services
        ("100.64.0.1", false),
        ("100.100.100.200", false),
        ("169.254.169.254", false),
        ("168.63.129.16", false),
        ("fe80::1", false),
        // protocol assignments, 6to4 relays
        ("192.0.0.8", false),
        ("192.88.99.1", false),
        // documentation, benchmarking
        ("192.0.2.1", false),
        ("198.51.100.1", false),
        ("203.0.113.1", false),
        ("198.18.0.1", false),
        ("198.19.255.255", false),
        ("2001:db8::1", false),
        ("3fff::1", false),
        ("2001:2::1", false),
        // multicast, reserved, broadcast
        ("224.0.0.1", false),
        ("239.255.255.250", false),
        ("240.0.0.1", false),
        ("255.255.255.255", false),
        ("ff02::1", false),
        // IPv4 inside IPv6: mapped, compatible, NAT64 (well-known and local), 6to4, Teredo
        ("::ffff:127.0.0.1", false),
        ("::ffff:169.254.169.254", false),
        ("::127.0.0.1", false),
        ("::ffff:0:127.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b::808:808", false),
        ("64:ff9b:1::1", false),
        ("2002:7f00:1::1", false),
        ("2002:808:808::1", false),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
        // discard-only, segment routing
        ("100::1", false),
        ("2620:4f:8000::1", false),
        // metadata services by IPv6, and IPv4 of other clouds' platforms inside it
        ("fd20:ce::254", false),
        ("64:ff9b::a9fe:a9fe", false),
        ("64:ff9b:1:a9fe:a9fe::", false),
        ("2002:a9fe:a9fe::1", false),
        ("2002:a00:1::1", false),
        ("::a00:1", false),
        ("::ffff:0:0", false),
        ("::ffff:100.64.0.1", false),
        ("::ffff:192.168.0.1", false),
        ("fe80::a9fe:a9fe", false),
        ("2001:10::1", false),
        ("2001:20::1", false),
        ("4000::1", false),
        ("5f00::1", false),
    ] {
        let allowed = is_allowed(address.parse().unwrap(), &AllowList::global());
        assert_eq!(allowed, expected, "{address}");
    }
}

#[test]
fn a_list_is_exclusive() {
    let allow: AllowList = "127.0.0.0/8, 10.1.2.3,fd00::/8".parse().unwrap();
    for (address, expected) in [
        ("127.0.0.1", true),
        ("::ffff:127.0.0.1", true),
        ("10.1.2.3", true),
        ("fd12::1", true),
        ("10.1.2.4", false),
        ("::1", false),
        ("1.1.1.1", false),
        ("2606:4700:4700::1111", false),
        ("64:ff9b::7f00:1", false),
    ] {
        assert_eq!(
            is_allowed(address.parse().unwrap(), &allow),
            expected,
            "{address}"
        );
    }
}

#[test]
fn a_list_without_a_network_or_with_something_else_is_refused() {
    for text in ["", " , ", "10.0.0.0/33", "example.com", "10.0.0.0/8,x"] {
        assert!(text.parse::<AllowList>().is_err(), "{text:?}");
    }
}

#[test]
fn a_url_is_checked_for_what_it_shows() {
    let global = AllowList::global();
    let loopback: AllowList = "127.0.0.0/8".parse().unwrap();
    for (url, allow, expected) in [
        ("https://hooks.example/x", &global, Ok(())),
        ("https://1.1.1.1:8443/x", &global, Ok(())),
        ("http://hooks.example/x", &global, Err(Refused::Scheme)),
        ("ftp://hooks.example/x", &global, Err(Refused::Scheme)),
        ("file:///etc/passwd", &global, Err(Refused::Scheme)),
        (
            "https://u@hooks.example/",
            &global,
            Err(Refused::Credentials),
        ),
        (
            "https://:p@hooks.example/",
            &global,
            Err(Refused::Credentials),
        ),
        ("https://127.0.0.1/", &global, Err(Refused::Address)),
        ("https://[::1]/", &global, Err(Refused::Address)),
        ("https://[::ffff:10.0.0.1]/", &global, Err(Refused::Address)),
        // other spellings of 127.0.0.1
        ("https://2130706433/", &global, Err(Refused::Address)),
        ("https://0x7f.1/", &global, Err(Refused::Address)),
        ("https://0177.0.0.1/", &global, Err(Refused::Address)),
        ("https://127.1/", &global, Err(Refused::Address)),
        ("https://127.0.0.1./", &global, Err(Refused::Address)),
        ("https://0/", &global, Err(Refused::Address)),
        ("https://017700000001/", &global, Err(Refused::Address)),
        ("https://0x7f000001/", &global, Err(Refused::Address)),
        ("https://0X7F.0.0.1/", &global, Err(Refused::Address)),
        ("https://127.0.1/", &global, Err(Refused::Address)),
        ("https://127.00000.0.001/", &global, Err(Refused::Address)),
        (
            "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
            &global,
            Err(Refused::Address),
        ),
        (
            "https://127\u{3002}0\u{3002}0\u{3002}1/",
            &global,
            Err(Refused::Address),
        ),
        ("https://\u{2460}27.0.0.1/", &global, Err(Refused::Address)),
        ("https:127.0.0.1/", &global, Err(Refused::Address)),
        ("https:///127.0.0.1/", &global, Err(Refused::Address)),
        ("https:\\\\127.0.0.1\\", &global, Err(Refused::Address)),
        (
            "https://127.0.0.1:443#@1.1.1.1/",
            &global,
            Err(Refused::Address),
        ),
        (
            "https://127.0.0.1\\@1.1.1.1/",
            &global,
            Err(Refused::Address),
        ),
        (
            "https://1.1.1.1@127.0.0.1/",
            &global,
            Err(Refused::Credentials),
        ),
        ("https://[::]/", &global, Err(Refused::Address)),
        ("https://[0:0:0:0:0:0:0:1]/", &global, Err(Refused::Address)),
        ("https://[::127.0.0.1]/", &global, Err(Refused::Address)),
        ("https://[::ffff:7f00:1]/", &global, Err(Refused::Address)),
        (
            "https://[64:ff9b::127.0.0.1]/",
            &global,
            Err(Refused::Address),
        ),
        ("https://[2002:7f00:1::]/", &global, Err(Refused::Address)),
        ("https://[fd00:ec2::254]/", &global, Err(Refused::Address)),
        (
            "https://169.254.169.254/latest/meta-data/",
            &global,
            Err(Refused::Address),
        ),
        ("https://2852039166/", &global, Err(Refused::Address)),
        ("https://0xa9fea9fe/", &global, Err(Refused::Address)),
        ("gopher://1.1.1.1/", &global, Err(Refused::Scheme)),
        ("https://%31%32%37.0.0.1/", &global, Err(Refused::Address)),
        ("http://127.0.0.1:9000/x", &loopback, Ok(())),
        ("https://127.0.0.1/x", &loopback, Ok(())),
        ("https://1.1.1.1/x", &loopback, Err(Refused::Address)),
        ("http://u@127.0.0.1/x", &loopback, Err(Refused::Credentials)),
    ] {
        assert_eq!(check(&url.parse().unwrap(), allow), expected, "{url}");
    }
}

/// A sender whose names resolve to what `answers` says, one answer after the other.
fn sender(allow: &AllowList, answers: &[&[&str]]) -> Sender {
    let answers: Vec<Vec<IpAddr>> = answers
        .iter()
        .map(|answer| answer.iter().map(|one| one.parse().unwrap()).collect())
        .collect();
    let asked = AtomicUsize::new(0);
    let lookup: Lookup = Arc::new(move |_| {
        let number = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let answer = answers[number].clone();
        async move { Ok(answer) }.boxed()
    });
    let config = WebhookConfig {
        allow: allow.clone(),
        timeout: Duration::from_secs(3),
        poll_interval: Duration::from_secs(1),
    };
    let resolver = AllowedAddresses::with_lookup(allow.clone(), lookup);
    Sender::with_resolver(&config, resolver).unwrap()
}

/// A listener that nobody may connect to, and whether somebody did.
async fn trap() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connected = tokio::spawn(async move {
        let _ = listener.accept().await;
    });
    (port, connected)
}

#[tokio::test]
async fn of_a_names_addresses_only_the_allowed_ones_are_connected_to() {
    // What is allowed here stands for a public address: nothing listens there.
    let allow: AllowList = "127.0.0.2".parse().unwrap();
    let (port, trap) = trap().await;
    let url = format!("http://rebinding.example:{port}/");
    // Both in one answer, in either order; and one after the other.
    for answers in [
        &[&["127.0.0.2", "127.0.0.1"][..]][..],
        &[&["127.0.0.1", "127.0.0.2"][..]],
        &[&["127.0.0.2"], &["127.0.0.1"]],
        &[&["127.0.0.2"], &["::ffff:127.0.0.1"]],
    ] {
        let sender = sender(&allow, answers);
        let first = sender.send(&delivery(&url)).await.0;
        assert_eq!(first, Outcome::Failed("connection refused"), "{answers:?}");
        let second = sender.send(&delivery(&url)).await.0;
        match answers.len() {
            1 => assert_eq!(second, Outcome::Failed("connection refused"), "{answers:?}"),
            _ => assert_eq!(second, Outcome::Refused(Refused::Address), "{answers:?}"),
        }
    }
    // By default nothing of this machine is allowed, whatever stands beside it.
    let url = format!("https://rebinding.example:{port}/");
    for answer in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
        let outcome = sender(&AllowList::global(), &[&[answer]])
            .send(&delivery(&url))
            .await;
        assert_eq!(outcome.0, Outcome::Refused(Refused::Address), "{answer}");
    }
    assert!(!trap.is_finished(), "something has connected to the trap");
}

#[tokio::test]
async fn a_public_address_first_and_loopback_second_leaves_the_public_one_alone() {
    let lookup: Lookup = Arc::new(|_| {
        let both = ["1.1.1.1", "127.0.0.1", "::1", "10.0.0.1", "2606:4700::1"];
        async move { Ok(both.map(|one| one.parse().unwrap()).to_vec()) }.boxed()
    });
    let resolver = AllowedAddresses::with_lookup(AllowList::global(), lookup);
    let resolved = resolver.resolve("rebinding.example".parse().unwrap()).await;
    let kept: Vec<String> = resolved
        .unwrap()
        .map(|address| address.ip().to_string())
        .collect();
    assert_eq!(kept, ["1.1.1.1", "2606:4700::1"]);
}
