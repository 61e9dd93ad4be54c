//! Who is let in: the flags, and the layers that they make.

use std::{convert::Infallible, fmt, net::SocketAddr, str::FromStr};

use shadowcat::auth::{
    AuthLayer, Authorize, ConfigErrorKind, Credentials, Decision, MetadataService, Principal,
    Rejection, ScopeLayer, Scopes, StaticTokens,
    jwt::{Issuer, JwksUrl, JwtAuthorizer, JwtError, Keys},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// A bearer token that is let in, and as whom; repeatable. Other users of this machine can see it
    #[arg(long, value_name = "TOKEN=SUBJECT[:SCOPE,SCOPE]")]
    token: Vec<Secret>,

    /// The keys of the tokens' issuer: a URL to fetch them from (https, or http on loopback), or a file
    /// with a JWK set or PEM
    #[arg(long, value_name = "URL_OR_FILE", requires_all = ["issuer", "audience"])]
    jwks: Option<String>,

    /// Who gives out the tokens that --jwks verifies: their `iss`
    #[arg(long, value_name = "URL", requires = "jwks")]
    issuer: Option<String>,

    /// Scopes that a method needs, or a tool, prompt or resource of that name; repeatable, and either may
    /// end in *. Clients are told to ask for those of methods to begin with
    #[arg(long, value_name = "METHOD[:NAME]=SCOPE[,SCOPE]")]
    require_scope: Vec<String>,

    /// The URL that clients know the server by, and the `aud` of tokens that --jwks verifies
    #[arg(long, value_name = "URL", requires = "jwks")]
    audience: Option<String>,

    /// Serve anyone who can reach an address that is not loopback
    #[arg(long)]
    insecure_no_auth: bool,
}

/// A flag's value that is shown to nobody.
#[derive(Clone)]
struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// What guards the server.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) auth: AuthLayer<Known>,
    /// What has keys to fetch before the first token comes.
    pub(crate) signed: Option<JwtAuthorizer>,
    pub(crate) scopes: ScopeLayer,
    pub(crate) metadata: Option<MetadataService>,
}

/// The tokens that are let in: those that were named, and those that somebody signs.
pub(crate) struct Known {
    named: StaticTokens,
    signed: Option<JwtAuthorizer>,
}

impl Authorize for Known {
    type Future = <JwtAuthorizer as Authorize>::Future;

    fn authorize(&self, credentials: Credentials<'_>) -> Decision<Self::Future> {
        match (self.named.authorize(credentials), &self.signed) {
            (Decision::Now(Err(_)), Some(signed)) => signed.authorize(credentials),
            (Decision::Now(decided), _) => Decision::Now(decided),
            // Named tokens are known at once, and this would let nobody in.
            (Decision::Later(_), _) => {
                Decision::Now(Err(Rejection::invalid_token("the token is unknown")))
            }
        }
    }
}

impl Flags {
    /// What guards a server that listens on `address`; `None` if nobody need say who it is.
    pub(crate) fn guard(&self, address: SocketAddr) -> Result<Option<Guard>, String> {
        let is_loopback = address.ip().is_loopback();
        if self.token.is_empty() && self.jwks.is_none() {
            if !self.require_scope.is_empty() {
                return Err("--require-scope needs a --token, or --jwks".to_owned());
            }
            if !is_loopback && !self.insecure_no_auth {
                return Err(format!(
                    "refusing to listen on {address}: anyone who reaches the gateway could use the \
                     MCP server behind it; say who may with --token or --jwks, or use a loopback \
                     address (--insecure-no-auth serves anyone all the same)"
                ));
            }
            return Ok(None);
        }
        if self.insecure_no_auth {
            return Err("--insecure-no-auth excludes --token and --jwks".to_owned());
        }
        let (mut scopes, base) = self.scopes()?;
        let metadata = self.metadata(&base)?;
        let signed = self.signed(metadata.as_ref())?;
        let known = Known {
            named: self.tokens()?,
            signed: signed.clone(),
        };
        let mut auth = AuthLayer::new(known).with_scopes(base);
        if let Some(metadata) = &metadata {
            auth = auth.with_metadata(metadata);
            scopes = scopes.with_metadata(metadata);
        }
        Ok(Some(Guard {
            auth,
            signed,
            scopes,
            metadata,
        }))
    }

    /// What verifies signed tokens, if any are taken: those for the audience as it was written, and as
    /// clients are told it.
    fn signed(&self, metadata: Option<&MetadataService>) -> Result<Option<JwtAuthorizer>, String> {
        let (Some(jwks), Some(issuer), Some(audience)) = (&self.jwks, &self.issuer, &self.audience)
        else {
            return Ok(None);
        };
        let wrong = |error: JwtError| format!("--jwks {jwks}: {error}");
        let keys = match jwks.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => {
                JwksUrl::loopback(jwks).map(Keys::from)
            }
            Some(_) => JwksUrl::new(jwks).map(Keys::from),
            None => Keys::from_file(jwks),
        };
        let keys = keys.map_err(wrong)?;
        let mut trusted = Issuer::new(issuer.as_str(), audience.as_str(), keys)
            .map_err(|error| format!("--issuer {issuer}: {error}"))?;
        if let Some(metadata) = metadata {
            trusted = trusted.add_audience(metadata.resource()).map_err(wrong)?;
        }
        JwtAuthorizer::new([trusted]).map(Some).map_err(wrong)
    }

    fn tokens(&self) -> Result<StaticTokens, String> {
        let mut tokens = StaticTokens::new();
        for (nth, Secret(text)) in (1..).zip(&self.token) {
            // The value may be a secret, however wrong it is.
            let wrong = |what: &dyn fmt::Display| format!("--token number {nth}: {what}");
            // A token may end in `=`; no scope has one.
            let Some((token, who)) = text.rsplit_once('=') else {
                return Err(wrong(&"expected TOKEN=SUBJECT[:SCOPE,SCOPE]"));
            };
            let (subject, scopes) = match who.split_once(':') {
                Some((subject, scopes)) => (subject, list(scopes).map_err(|e| wrong(&e))?),
                None => (who, Scopes::default()),
            };
            let principal = Principal::builder(subject)
                .with_scopes(scopes.iter())
                .build();
            let principal = principal.map_err(|error| wrong(&error))?;
            let added = tokens.add_token(token, principal);
            tokens = added.map_err(|error| wrong(&error))?;
        }
        Ok(tokens)
    }

    /// What needs which scopes; and those that clients ask for to begin with: what methods need, and not
    /// what only some tool does (AUT-9).
    fn scopes(&self) -> Result<(ScopeLayer, Scopes), String> {
        let mut layer = ScopeLayer::new();
        let (mut every, mut base) = (Vec::new(), Vec::new());
        for text in &self.require_scope {
            let wrong = |what: &dyn fmt::Display| format!("--require-scope {text}: {what}");
            let Some((what, scopes)) = text.rsplit_once('=') else {
                return Err(wrong(&"expected METHOD[:NAME]=SCOPE[,SCOPE]"));
            };
            let scopes = list(scopes).map_err(|error| wrong(&error))?;
            layer = match what.split_once(':') {
                None => {
                    base.extend(scopes.iter().map(str::to_owned));
                    if what == "*" {
                        // Also what has no method, such as a GET.
                        every.extend(scopes.iter().map(str::to_owned));
                        layer
                    } else {
                        layer.add_method(what, scopes)
                    }
                }
                Some(("tools/call", tool)) => layer.add_tool(tool, scopes),
                Some(("prompts/get", prompt)) => layer.add_prompt(prompt, scopes),
                Some(("resources/read", uri)) => layer.add_resource(uri, scopes),
                Some(_) => {
                    return Err(wrong(
                        &"only tools/call, prompts/get and resources/read take a name",
                    ));
                }
            };
        }
        // Each was read before.
        let all = |names: Vec<String>| Scopes::new(names).map_err(|error| error.to_string());
        Ok((layer.with_base(all(every)?), all(base)?))
    }

    /// The document that sends clients to the issuer. Tokens that were named are given out by no server,
    /// so there is nothing to say of those (AUT-3).
    fn metadata(&self, base: &Scopes) -> Result<Option<MetadataService>, String> {
        let (Some(audience), Some(issuer)) = (&self.audience, &self.issuer) else {
            return Ok(None);
        };
        let metadata = MetadataService::builder(audience)
            .allow_loopback()
            .add_authorization_server(issuer)
            .with_scopes(base.clone())
            .build();
        metadata.map(Some).map_err(|error| {
            let flag = match error.kind() {
                ConfigErrorKind::AuthorizationServer => "--issuer",
                _ => "--audience",
            };
            format!("{flag}: {error}")
        })
    }
}

/// Scopes with commas between them.
fn list(text: &str) -> Result<Scopes, String> {
    Scopes::new(text.split(',')).map_err(|error| error.to_string())
}
