//! Where a companion is. A token in the clear goes to this machine alone.

use crate::client::failure::{Failure, Kind};
use url::{Host, Url};

/// Reads an address, and refuses one that a token must not be sent to.
///
/// # Errors
/// Where it is no http or https address without user, query and fragment, and where it is http, leads
/// away from this machine, and `insecure_http` is not set. The text quotes nothing of it.
pub(crate) fn parse(text: &str, insecure_http: bool) -> Result<Url, Failure> {
    let refused = |why: &str| Failure::new(Kind::Usage, format!("the server's address {why}"));
    let url = Url::parse(text)
        .map_err(|_| refused("cannot be understood; for example https://secrets.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(refused("must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("must not have a user or a password in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("must not have a query or a fragment"));
    }
    if url.scheme() == "http" && !is_loopback(&url) && !insecure_http {
        return Err(refused(
            "is http and leads away from this machine, so that anybody on the way could read the token \
             and every value; use https, or --insecure-http if the way is protected by other means",
        ));
    }
    Ok(url)
}

/// Whether requests stay on this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // RFC 6761, section 6.3
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// The address of a route: each part stands in the path as one segment, whatever it holds.
///
/// # Errors
/// For a part that no URL can hold, which would lead to another route.
pub(crate) fn route(base: &Url, parts: &[&str]) -> Result<Url, Failure> {
    if let Some(part) = parts.iter().find(|part| matches!(**part, "" | "." | "..")) {
        let text = format!("\"{part}\" is no name of a project or secret");
        return Err(Failure::new(Kind::Usage, text));
    }
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut segments) => {
            segments.pop_if_empty().extend(parts);
        }
        Err(()) => {
            return Err(Failure::new(
                Kind::Usage,
                "the server's address has no path",
            ));
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_this_machine() {
        for text in [
            "https://secrets.example.com",
            "https://secrets.example.com:8443/behind/a/proxy/",
            "http://127.0.0.1:8484",
            "http://127.8.9.1",
            "http://[::1]:8484",
            "http://localhost:8484",
        ] {
            assert!(parse(text, false).is_ok(), "{text}");
        }
        for text in [
            "http://secrets.example.com",
            "http://10.0.0.1",
            "http://0.0.0.0:8484",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://[::ffff:10.0.0.1]",
        ] {
            let refused = parse(text, false).unwrap_err();
            assert_eq!(refused.kind(), Kind::Usage, "{text}");
            assert!(parse(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for text in [
            "",
            "hunter2",
            "ftp://hunter2",
            "https://u:hunter2@h",
            "https://hunter2@h",
            "https://h?hunter2",
            "https://h#hunter2",
            "file:///hunter2",
        ] {
            let refused = parse(text, true).unwrap_err();
            assert!(!refused.text().contains("hunter2"), "{}", refused.text());
        }
    }

    #[test]
    fn a_part_of_a_route_stays_one_segment() {
        let base = parse("https://h/below/", false).unwrap();
        let url = route(&base, &["api", "a/b", "100%", "ü?#"]).unwrap();
        assert_eq!(
            url.as_str(),
            "https://h/below/api/a%2Fb/100%25/%C3%BC%3F%23"
        );
        let base = parse("https://h", false).unwrap();
        assert_eq!(route(&base, &["api"]).unwrap().as_str(), "https://h/api");
        for part in ["", ".", ".."] {
            assert!(route(&base, &["api", part]).is_err(), "{part}");
        }
    }
}
