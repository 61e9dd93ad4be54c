use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT, HOST},
    uri::Scheme,
};
use http_body::Body;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    JwksUrl, JwtError, JwtErrorKind,
    address::Reach,
    jwk::{BadKeys, Jwk, MAX_DOCUMENT_BYTES},
};

/// How long one of several addresses may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest response head.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Fetches keys over a connection of its own, which is closed again.
pub(super) struct Fetcher {
    url: JwksUrl,
    tls: Option<TlsConnector>,
}

/// Why there are no keys.
#[derive(Debug)]
pub(super) enum FetchError {
    TimedOut,
    Resolve(io::Error),
    /// The name leads to an address that is not allowed.
    Address,
    Connect(io::Error),
    Http(hyper::Error),
    /// Something else than 200: a redirect, too, because nobody has configured where that leads.
    Status(StatusCode),
    Keys(BadKeys),
}

impl Fetcher {
    /// Reads the system's certificates, if those are asked for, which takes a while.
    pub(super) fn new(url: JwksUrl) -> Result<Self, JwtError> {
        let is_https = url.uri.scheme() == Some(&Scheme::HTTPS);
        let tls = is_https.then(|| tls(url.roots.as_deref())).transpose()?;
        Ok(Self { url, tls })
    }

    pub(super) const fn url(&self) -> &JwksUrl {
        &self.url
    }

    pub(super) async fn fetch(&self) -> Result<Vec<Jwk>, FetchError> {
        let fetched = timeout(JwksUrl::TIMEOUT, self.get()).await;
        let document = fetched.map_err(|_elapsed| FetchError::TimedOut)??;
        Jwk::parse_set(&document).map_err(FetchError::Keys)
    }

    async fn get(&self) -> Result<Vec<u8>, FetchError> {
        let stream = self.connect().await?;
        let Some(tls) = &self.tls else {
            return self.exchange(stream).await;
        };
        let name = ServerName::try_from(self.host().to_owned());
        let name = name.map_err(|error| FetchError::Connect(io::Error::other(error)))?;
        let connected = tls.connect(name, stream).await;
        self.exchange(connected.map_err(FetchError::Connect)?).await
    }

    /// Resolves the name once, and connects to what was looked at.
    async fn connect(&self) -> Result<TcpStream, FetchError> {
        let port = if self.tls.is_some() { 443 } else { 80 };
        let port = self.url.uri.port_u16().unwrap_or(port);
        let resolved = lookup_host((self.host(), port)).await;
        let addresses: Vec<SocketAddr> = resolved.map_err(FetchError::Resolve)?.collect();
        self.check(&addresses)?;
        connect_to_one(&addresses)
            .await
            .map_err(FetchError::Connect)
    }

    /// One that is not allowed spoils them all: whoever answers so is up to something.
    fn check(&self, addresses: &[SocketAddr]) -> Result<(), FetchError> {
        let is_allowed = |address: &SocketAddr| match Reach::of(address.ip()) {
            Reach::Loopback => self.url.is_loopback,
            Reach::Global => !self.url.is_loopback,
            Reach::Private => self.url.allows_private && !self.url.is_loopback,
            Reach::Never => false,
        };
        let are_allowed = addresses.iter().all(is_allowed);
        are_allowed.then_some(()).ok_or(FetchError::Address)
    }

    /// Without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        let host = self.url.uri.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    async fn exchange<I>(&self, io: I) -> Result<Vec<u8>, FetchError>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .map_err(FetchError::Http)?;
        let request = self.request();
        let exchange = async move {
            let response = sender.send_request(request).await;
            document(response.map_err(FetchError::Http)?).await
        };
        alongside(exchange, connection).await
    }

    fn request(&self) -> Request<String> {
        let mut request = Request::new(String::new());
        let uri = &self.url.uri;
        if let Some(path) = uri.path_and_query() {
            *request.uri_mut() = path.clone().into();
        }
        let authority = uri.authority().map(|authority| authority.as_str());
        let host = HeaderValue::from_str(authority.unwrap_or_default());
        let headers = request.headers_mut();
        // An authority has no other characters than a value may have.
        headers.insert(HOST, host.unwrap_or_else(|_| HeaderValue::from_static("")));
        let accept = HeaderValue::from_static("application/jwk-set+json, application/json");
        headers.insert(ACCEPT, accept);
        request
    }
}

/// Tries one address after another.
async fn connect_to_one(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// The whole body, if it is what was asked for.
async fn document(response: Response<Incoming>) -> Result<Vec<u8>, FetchError> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(FetchError::Status(status));
    }
    let mut body = response.into_body();
    if body.size_hint().lower() > MAX_DOCUMENT_BYTES as u64 {
        return Err(FetchError::Keys(BadKeys::TooLarge));
    }
    let mut document = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(FetchError::Http)?;
        if let Ok(data) = frame.into_data() {
            if document.len() + data.len() > MAX_DOCUMENT_BYTES {
                return Err(FetchError::Keys(BadKeys::TooLarge));
            }
            document.extend_from_slice(&data);
        }
    }
    Ok(document)
}

/// Polls a connection for as long as what happens over it takes. Its end is that one's end, too.
async fn alongside<T, C: Future>(exchange: impl Future<Output = T>, connection: C) -> T {
    let mut exchange = pin!(exchange);
    let mut connection = pin!(connection);
    let mut is_over = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(output) = exchange.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            if is_over || connection.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            is_over = true;
        }
    })
    .await
}

fn tls(roots: Option<&[CertificateDer<'static>]>) -> Result<TlsConnector, JwtError> {
    let mut store = RootCertStore::empty();
    let mut unreadable = None;
    match roots {
        Some(roots) => {
            for root in roots {
                let added = store.add(root.clone());
                added.map_err(|error| JwtError::new(JwtErrorKind::Certificates, error))?;
            }
        }
        // Systems have some that nobody can read: the others are enough.
        None => {
            let system = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(system.certs);
            unreadable = system.errors.into_iter().next();
        }
    }
    if store.is_empty() {
        return Err(
            unreadable.map_or(JwtErrorKind::Certificates.into(), |error| {
                JwtError::new(JwtErrorKind::Certificates, error)
            }),
        );
    }
    // Not the provider that the process has chosen, because it may have chosen none.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| JwtError::new(JwtErrorKind::Certificates, error))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl From<FetchError> for JwtError {
    fn from(error: FetchError) -> Self {
        let kind = match &error {
            FetchError::Keys(_) => JwtErrorKind::Keys,
            FetchError::Address => JwtErrorKind::Url,
            _ => JwtErrorKind::Fetch,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the keys were not there in time"),
            Self::Resolve(_) => f.write_str("the host's address cannot be found"),
            Self::Address => f.write_str("the host has an address that is not allowed"),
            Self::Connect(_) => f.write_str("cannot connect"),
            Self::Http(_) => f.write_str("the exchange broke off"),
            Self::Status(status) => write!(f, "the answer was {status}"),
            Self::Keys(reason) => reason.fmt(f),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Connect(error) => Some(error),
            Self::Http(error) => Some(error),
            Self::TimedOut | Self::Address | Self::Status(_) | Self::Keys(_) => None,
        }
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, tls } = self;
        f.debug_struct("Fetcher")
            .field("url", url)
            .field("is_https", &tls.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        net::{TcpListener, TcpSocket},
        time::Instant,
    };

    use super::*;

    fn fetcher(url: Result<JwksUrl, JwtError>) -> Fetcher {
        Fetcher {
            url: url.expect("a URL"),
            tls: None,
        }
    }

    #[test]
    fn b57_all_addresses_of_a_name_must_be_allowed() {
        let name = "https://login.example.com/keys";
        let public = fetcher(JwksUrl::new(name));
        let private = fetcher(JwksUrl::new(name).map(JwksUrl::allow_private_addresses));
        let local = fetcher(JwksUrl::loopback("http://localhost/keys"));
        // What a name of this machine leads to counts, and not the name.
        let misnamed = fetcher(JwksUrl::new("https://localhost/keys"));
        for (addresses, allowed) in [
            (&["1.1.1.1"][..], [true, true, false, true]),
            (&["1.1.1.1", "2606:4700::1111"], [true, true, false, true]),
            (&["10.0.0.1"], [false, true, false, false]),
            (&["1.1.1.1", "10.0.0.1"], [false, true, false, false]),
            (&["fd00::1"], [false, true, false, false]),
            (&["127.0.0.1"], [false, false, true, false]),
            (&["127.0.0.1", "::1"], [false, false, true, false]),
            (&["1.1.1.1", "127.0.0.1"], [false, false, false, false]),
            (&["::ffff:127.0.0.1"], [false, false, true, false]),
            (&["169.254.169.254"], [false, false, false, false]),
            (
                &["1.1.1.1", "169.254.169.254"],
                [false, false, false, false],
            ),
        ] {
            let resolved: Vec<_> = addresses
                .iter()
                .map(|address| SocketAddr::new(address.parse().expect("an address"), 443))
                .collect();
            let checked = [&public, &private, &local, &misnamed]
                .map(|fetcher| fetcher.check(&resolved).is_ok());
            assert_eq!(checked, allowed, "{addresses:?}");
        }
    }

    /// An address at which nobody answers, as long as the sockets are there: so many have connected that
    /// the kernel lets no more.
    async fn silent() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = socket.listen(0).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let mut connected = Vec::new();
        while let Ok(stream) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            connected.push(stream.expect("connected"));
        }
        (address, listener, connected)
    }

    #[tokio::test(start_paused = true)]
    async fn c69_addresses_are_tried_in_turn_and_none_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let good = listener.local_addr().expect("an address");
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let refusing = closed.local_addr().expect("an address");
        drop(closed);
        let (silent, _listener, _connected) = silent().await;

        let began = Instant::now();
        let stream = connect_to_one(&[refusing, silent, good]).await;
        assert_eq!(stream.expect("the last one").peer_addr().ok(), Some(good));
        assert_eq!(began.elapsed(), CONNECT_TIMEOUT);
        let error = connect_to_one(&[silent, refusing]).await.expect_err("none");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = connect_to_one(&[silent]).await.expect_err("none");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = connect_to_one(&[]).await.expect_err("none");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
