//! Who is at the other end of the connection.
//!
//! A layer cannot see the socket. Whoever accepts the connection inserts a [`PeerAddr`] into the
//! extensions of its requests, for the layers that go by it.
//!
//! With axum, serve with connect info and add one line outside of the layers:
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use axum::{Router, extract::ConnectInfo, extract::Request, middleware, routing::post};
//! use shadowcat::peer::PeerAddr;
//!
//! # fn main() {
//! let app = Router::<()>::new()
//!     .route("/mcp", post(|request: Request| async move {
//!         let peer = request.extensions().get::<PeerAddr>().expect("inserted below");
//!         peer.ip().to_string()
//!     }))
//!     .layer(middleware::map_request(
//!         |ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request| async move {
//!             request.extensions_mut().insert(PeerAddr::new(peer));
//!             request
//!         },
//!     ));
//! // … axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
//!
//! let peer = PeerAddr::new(SocketAddr::from(([127, 0, 0, 1], 4242)));
//! assert_eq!(peer.ip().to_string(), "127.0.0.1");
//! # }
//! ```

use std::net::{IpAddr, SocketAddr};

/// The address of the connection's other end: of the last hop, which may be a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(SocketAddr);

impl PeerAddr {
    /// The peer that the connection was accepted from.
    #[must_use]
    pub const fn new(addr: SocketAddr) -> Self {
        Self(addr)
    }

    /// Its address and port.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.0
    }

    /// Its address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.0.ip()
    }
}
