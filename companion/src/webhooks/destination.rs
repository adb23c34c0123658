//! Where webhooks may go. Whoever may register an endpoint could otherwise make the companion
//! knock at doors that only it can reach: its own machine, the private network, a cloud's metadata
//! service.

use anyhow::{Context, bail};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use url::{Host, Url};

/// The networks that webhooks go to. When the operator named some, they go there, by http or
/// https, and nowhere else; otherwise to every globally routable address, by https alone.
#[derive(Debug, Clone)]
pub(crate) struct AllowList(Option<Arc<[IpNet]>>);

impl AllowList {
    /// Every globally routable address.
    pub(crate) fn global() -> Self {
        Self(None)
    }

    fn is_exclusive(&self) -> bool {
        self.0.is_some()
    }
}

impl FromStr for AllowList {
    type Err = anyhow::Error;

    /// Networks in CIDR notation, or single addresses, with commas between. An empty list is an
    /// error: it could mean nowhere as well as everywhere.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let networks = text
            .split(',')
            .map(str::trim)
            .filter(|network| !network.is_empty())
            .map(|network| {
                network
                    .parse::<IpNet>()
                    .or_else(|_| network.parse::<IpAddr>().map(IpNet::from))
                    .with_context(|| format!("'{network}' is not a network such as 10.1.0.0/16"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        if networks.is_empty() {
            bail!("name at least one network, or leave it unset");
        }
        Ok(Self(Some(networks.into())))
    }
}

/// Why a destination is refused. The texts are stored with the delivery: they name no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Neither https, nor http where that is allowed.
    #[error("refused destination: the scheme must be https")]
    Scheme,
    /// `https://user:password@host/` would send the credentials with every try.
    #[error("refused destination: the URL holds credentials")]
    Credentials,
    /// The host is, or resolves to, nothing but addresses that are not allowed; or to nothing at all, which
    /// is not told apart: whoever registers endpoints must not learn which names there are in-house.
    #[error("refused destination: it has no address that is allowed")]
    Address,
    /// The URL has no host.
    #[error("refused destination: the URL names no host")]
    NoHost,
}

/// Checks what a URL itself shows. Names are checked when they are resolved, by
/// [`AllowedAddresses`]; addresses must be checked here, for they never reach a resolver.
///
/// # Errors
/// Where nothing may be sent there.
pub(crate) fn check(url: &Url, allow: &AllowList) -> Result<(), Refused> {
    match url.scheme() {
        "https" => {}
        "http" if allow.is_exclusive() => {}
        _ => return Err(Refused::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Credentials);
    }
    let address: IpAddr = match url.host() {
        None => return Err(Refused::NoHost),
        Some(Host::Domain(_)) => return Ok(()),
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
    };
    if is_allowed(address, allow) {
        Ok(())
    } else {
        Err(Refused::Address)
    }
}

/// Whether a webhook may be sent to this address.
pub(crate) fn is_allowed(address: IpAddr, allow: &AllowList) -> bool {
    // ::ffff:10.0.0.1 is 10.0.0.1 by another name.
    let address = address.to_canonical();
    match (&allow.0, address) {
        (Some(networks), _) => networks.iter().any(|network| network.contains(&address)),
        (None, IpAddr::V4(address)) => is_global_v4(address),
        (None, IpAddr::V6(address)) => is_global_v6(address),
    }
}

/// What is not globally reachable, by IANA's registry of special-purpose IPv4 addresses.
const SPECIAL_V4: &[Ipv4Net] = &[
    v4(0, 0, 0, 0, 8),        // this network, unspecified
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT; one cloud's metadata service
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // another cloud's platform service, on a public address
    v4(169, 254, 0, 0, 16),   // link-local; most clouds' metadata services
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 31, 196, 0, 24),  // AS112
    v4(192, 52, 193, 0, 24),  // AMT
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(192, 175, 48, 0, 24),  // AS112
    v4(198, 18, 0, 0, 15),    // benchmarking
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, broadcast
];

/// The one block of IPv6 that global unicast addresses are given out of (RFC 4291, section 2.4).
/// Outside of it lie loopback, unspecified, NAT64, unique local, link-local, multicast.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// What is special within it, by IANA's registry of special-purpose IPv6 addresses.
const SPECIAL_V6: &[Ipv6Net] = &[
    v6(0x2001, 0, 0, 23),      // protocol assignments: Teredo, benchmarking, ORCHID
    v6(0x2001, 0x0db8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),      // 6to4: an IPv4 address inside
    v6(0x2620, 0x004f, 0x8000, 48), // AS112
    v6(0x3fff, 0, 0, 20),      // documentation
];

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|network| network.contains(&address))
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|network| network.contains(&address))
}

/// How many names are looked up at once. A lookup goes on when nobody waits for it any more, and holds one of
/// the threads that all share.
const LOOKUPS: usize = 128;

/// Gives the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Resolves names and keeps back what may not be connected to. Because the connection goes to the very
/// addresses that were checked, a name that changes its mind between check and use gains nothing.
pub(crate) struct AllowedAddresses {
    allow: AllowList,
    lookup: Lookup,
    lookups: Arc<Semaphore>,
}

impl AllowedAddresses {
    /// Resolves by the operating system.
    pub(crate) fn new(allow: AllowList) -> Self {
        Self::with_lookup(
            allow,
            Arc::new(|name| {
                async move {
                    // The port is replaced by the URL's.
                    let resolved = tokio::net::lookup_host((name, 0)).await?;
                    Ok(resolved.map(|address| address.ip()).collect())
                }
                .boxed()
            }),
        )
    }

    pub(super) fn with_lookup(allow: AllowList, lookup: Lookup) -> Self {
        Self {
            allow,
            lookup,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

impl Resolve for AllowedAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = self.allow.clone();
        let resolving = (self.lookup)(name.as_str().to_owned());
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            let resolved = tokio::spawn(async move {
                let resolved = resolving.await;
                drop(permit);
                resolved
            });
            let allowed: Vec<SocketAddr> = resolved
                .await?
                .unwrap_or_else(|error| {
                    tracing::debug!(kind = %error.kind(), "a webhook's host does not resolve");
                    Vec::new()
                })
                .into_iter()
                .filter(|address| is_allowed(*address, &allow))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if allowed.is_empty() {
                return Err(Refused::Address.into());
            }
            let allowed: Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

#[cfg(test)]
mod tests;
