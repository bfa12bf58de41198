//! What a request must satisfy before its body is read.

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::AgentName;

use crate::config::{Agent, Config, Gateway};
use crate::error::GatewayError;
use crate::home;
use crate::proxy::TooManyRefusals;

/// Why a request is turned away before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) reason: &'static str,
}

const fn turned(status: StatusCode, code: &'static str, reason: &'static str) -> Turned {
    Turned {
        status,
        code,
        reason,
    }
}

impl From<TooManyRefusals> for Turned {
    fn from(_: TooManyRefusals) -> Self {
        turned(
            StatusCode::SERVICE_UNAVAILABLE,
            TooManyRefusals::CODE,
            TooManyRefusals::REASON,
        )
    }
}

/// Which addresses and web origins this gateway answers to.
///
/// A web page may make a browser call a loopback address under a name of the page's own choice
/// (DNS rebinding). The browser then sends that name in `Host`, and the page's origin in `Origin`.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// Authorities that `Host` may hold; empty when any may, since the listener is not a loopback
    /// one and a proxy in front may choose.
    hosts: Vec<String>,
    /// The authorities under which this gateway is meant, whatever it listens on.
    own: Vec<String>,
    origins: Vec<String>,
}

impl Addresses {
    /// Of a gateway that listens on `port`.
    pub(crate) fn new(config: &Gateway, port: u16) -> Self {
        let listening = std::net::SocketAddr::new(config.listen.ip(), port);
        let mut own = vec![listening.to_string()];
        if let Some(host) = config.url.host_str() {
            own.push(match config.url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            });
        }
        let mut hosts = Vec::new();
        let mut origins = config.origins.clone();
        origins.push(config.url.origin().ascii_serialization());
        if config.listen.ip().is_loopback() {
            for name in ["localhost", "127.0.0.1", "[::1]"] {
                hosts.push(format!("{name}:{port}"));
                origins.push(format!("http://{name}:{port}"));
            }
            hosts.extend(own.iter().cloned());
        }
        Self {
            hosts,
            own,
            origins,
        }
    }

    /// Whether `host`, the value of a `Host` header, is an address of this gateway. Signed
    /// requests must name one, so that nobody can pass them on to somebody else.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        self.own.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Checks `Host` and `Origin`.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Turned> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next(), uri.authority()) {
            (Some(host), None, _) => host.to_str().ok(),
            (None, None, Some(authority)) => Some(authority.as_str()),
            _ => None,
        };
        let known = |host: &str| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        if !self.hosts.is_empty() && !host.is_some_and(known) {
            return Err(turned(
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "the `Host` header does not name this gateway",
            ));
        }
        for origin in headers.get_all(ORIGIN) {
            let allowed = origin
                .to_str()
                .is_ok_and(|origin| self.origins.iter().any(|own| own == origin));
            if !allowed {
                return Err(turned(
                    StatusCode::FORBIDDEN,
                    "origin_not_allowed",
                    "the `Origin` header names a web page that may not use this gateway",
                ));
            }
        }
        Ok(())
    }
}

/// The headers of a POST with a message.
pub(crate) fn check_post(headers: &HeaderMap) -> Result<(), Turned> {
    check_json(headers)?;
    if !accepts(headers, "application/json") || !accepts(headers, "text/event-stream") {
        return Err(turned(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "`Accept` must list application/json and text/event-stream",
        ));
    }
    Ok(())
}

/// Whether a body is JSON and not encoded in another way.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Turned> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let json = match (types.next(), types.next()) {
        (Some(value), None) => value.to_str().is_ok_and(is_json),
        _ => false,
    };
    if !json || headers.contains_key(CONTENT_ENCODING) {
        return Err(turned(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content_type_not_supported",
            "the body must be application/json, without an encoding",
        ));
    }
    Ok(())
}

/// The headers of a GET for a stream.
pub(crate) fn check_get(headers: &HeaderMap) -> Result<(), Turned> {
    if accepts(headers, "text/event-stream") {
        return Ok(());
    }
    Err(turned(
        StatusCode::NOT_ACCEPTABLE,
        "not_acceptable",
        "`Accept` must list text/event-stream",
    ))
}

fn is_json(value: &str) -> bool {
    let mut parts = value.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let utf8 = |part: &str| {
        let part = part.trim().to_ascii_lowercase();
        match part.strip_prefix("charset=") {
            Some(charset) => charset.trim_matches('"') == "utf-8",
            None => true,
        }
    };
    essence.eq_ignore_ascii_case("application/json") && parts.all(utf8)
}

fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut any = false;
    let main = wanted.split('/').next().unwrap_or_default();
    for value in headers.get_all(ACCEPT) {
        any = true;
        let Ok(value) = value.to_str() else { continue };
        let listed = value.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default().to_ascii_lowercase();
            let refused = parts.any(|part| {
                part.strip_prefix("q=")
                    .is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight == 0.0))
            });
            let matches = range == wanted || range == "*/*" || range == format!("{main}/*");
            matches && !refused
        });
        if listed {
            return true;
        }
    }
    !any
}

/// Who may call over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Agents {
    known: Vec<(AgentName, Option<ContentDigest>)>,
}

impl Agents {
    /// Reads the agents' tokens.
    pub(crate) fn read(config: &Config) -> Result<Self, GatewayError> {
        let read = |agent: &Agent| {
            // Tokens are compared by their digests: that takes the same time wherever they differ.
            let digest = match &agent.token_file {
                Some(file) => Some(ContentDigest::of(home::read_token(file)?.as_bytes())),
                None => None,
            };
            Ok((agent.name.clone(), digest))
        };
        let known: Vec<_> = config
            .agents
            .iter()
            .map(read)
            .collect::<Result<_, GatewayError>>()?;
        Ok(Self { known })
    }

    /// The agent that a request's bearer token names.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<AgentName, Turned> {
        if let [(name, None)] = self.known.as_slice() {
            return Ok(name.clone());
        }
        let unknown = turned(
            StatusCode::UNAUTHORIZED,
            "agent_unknown",
            "the request needs the bearer token of an agent in `Authorization`",
        );
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(unknown);
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let digest = ContentDigest::of(token.ok_or(unknown)?.as_bytes());
        self.known
            .iter()
            .find(|(_, known)| *known == Some(digest))
            .map(|(name, _)| name.clone())
            .ok_or(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn gateway(listen: &str, url: &str) -> Gateway {
        let text = format!(
            "operator = \"acme.example\"\n[gateway]\nlisten = \"{listen}\"\nurl = \"{url}\"\n\
             origins = [\"https://console.acme.example\"]\n"
        );
        Config::parse(&text, std::path::Path::new("operator.toml"))
            .unwrap()
            .gateway
    }

    #[test]
    fn a_page_under_another_name_cannot_reach_a_loopback_gateway() {
        let own = Addresses::new(&gateway("127.0.0.1:7100", "http://gate.test:7100"), 7100);
        let uri = Uri::from_static("/mcp/desk");
        for good in [
            "127.0.0.1:7100",
            "localhost:7100",
            "LOCALHOST:7100",
            "gate.test:7100",
        ] {
            assert_eq!(
                own.check(&headers(&[("host", good)]), &uri),
                Ok(()),
                "{good}"
            );
        }
        for bad in ["evil.example:7100", "127.0.0.1", "127.0.0.1:7101", ""] {
            assert!(
                own.check(&headers(&[("host", bad)]), &uri).is_err(),
                "{bad}"
            );
        }
        assert!(own.check(&headers(&[]), &uri).is_err());
        let twice = headers(&[("host", "localhost:7100"), ("host", "evil.example")]);
        assert!(own.check(&twice, &uri).is_err());
        for (origin, allowed) in [
            ("http://localhost:7100", true),
            ("http://gate.test:7100", true),
            ("https://console.acme.example", true),
            ("http://evil.example", false),
            ("null", false),
        ] {
            let sent = headers(&[("host", "localhost:7100"), ("origin", origin)]);
            assert_eq!(own.check(&sent, &uri).is_ok(), allowed, "{origin}");
        }
        let public = Addresses::new(&gateway("0.0.0.0:7100", "http://gate.test:7100"), 7100);
        assert_eq!(
            public.check(&headers(&[("host", "anything")]), &uri),
            Ok(())
        );
        let page = headers(&[("host", "anything"), ("origin", "http://evil.example")]);
        assert!(public.check(&page, &uri).is_err());
    }

    #[test]
    fn a_post_is_json_and_takes_both_kinds_of_answer() {
        const BOTH: &str = "application/json, text/event-stream";
        for (kind, accept, status) in [
            ("application/json", BOTH, 200),
            ("Application/JSON; charset=UTF-8", "*/*", 200),
            (
                "application/json",
                "application/*, text/event-stream;q=0.5",
                200,
            ),
            ("application/json; charset=latin1", BOTH, 415),
            ("text/plain", BOTH, 415),
            ("application/json-seq", BOTH, 415),
            ("application/json", "application/json", 406),
            ("application/json", "text/event-stream", 406),
            (
                "application/json",
                "text/event-stream, application/json;q=0",
                406,
            ),
        ] {
            let result = check_post(&headers(&[("content-type", kind), ("accept", accept)]));
            let got = result.map_or_else(|turned| turned.status.as_u16(), |()| 200);
            assert_eq!(got, status, "{kind} {accept}");
        }
        assert!(check_post(&headers(&[("content-type", "application/json")])).is_ok());
        assert!(check_post(&headers(&[])).is_err());
        let gzip = headers(&[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ]);
        assert_eq!(check_post(&gzip).unwrap_err().status.as_u16(), 415);
    }

    #[test]
    fn tokens_name_their_agents() {
        let digest = |token: &str| Some(ContentDigest::of(token.as_bytes()));
        let one = AgentName::new("one").unwrap();
        let two = AgentName::new("two").unwrap();
        let agents = Agents {
            known: vec![
                (one.clone(), digest("token-1")),
                (two.clone(), digest("token-2")),
            ],
        };
        let with = |value| agents.authenticate(&headers(&[("authorization", value)]));
        assert_eq!(with("Bearer token-1"), Ok(one.clone()));
        assert_eq!(with("bearer token-2"), Ok(two));
        for bad in [
            "Bearer token-3",
            "Basic token-1",
            "token-1",
            "Bearer ",
            "Bearer token-1 x",
        ] {
            assert_eq!(with(bad).unwrap_err().status.as_u16(), 401, "{bad}");
        }
        assert!(agents.authenticate(&headers(&[])).is_err());
        let none = Agents { known: vec![] };
        assert!(none.authenticate(&headers(&[])).is_err());
        let alone = Agents {
            known: vec![(one.clone(), None)],
        };
        assert_eq!(alone.authenticate(&headers(&[])), Ok(one));
    }
}
