use std::{sync::Arc, time::Duration};

use super::{
    connection::Connector, gauges::Gauges, outgoing::Outgoing, pool::Pool, target::Target,
};

/// How a proxy was set up; see the builder's methods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) connect_timeout: Duration,
    pub(super) tcp_keep_alive: Duration,
    pub(super) max_idle_connections: usize,
    pub(super) pool_idle_timeout: Duration,
    pub(super) head_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) stream_idle_timeout: Option<Duration>,
    pub(super) merge: bool,
}

/// What exchanges with one upstream share.
pub(super) struct Client<B> {
    pub(super) connector: Connector,
    pub(super) target: Target,
    pub(super) pool: Arc<Pool<Outgoing<B>>>,
    pub(super) config: Config,
    pub(super) gauges: Gauges,
}

impl<B> Client<B> {
    pub(super) fn new(target: Target, config: Config) -> Self {
        Self {
            connector: Connector::new(config.connect_timeout, config.tcp_keep_alive),
            target,
            pool: Pool::new(config.max_idle_connections, config.pool_idle_timeout),
            config,
            gauges: Gauges::default(),
        }
    }
}
