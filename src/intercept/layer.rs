use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Intercept, InterceptHandle, Links, pause::Bounds, state::State};
use crate::sse::DEFAULT_MAX_EVENT_BYTES;

/// Has interceptors look at every message.
///
/// See the [module docs](crate::intercept). All services that one layer makes share its interceptors and
/// its [handle](Self::handle), and so do its clones and what a setter makes of it. A clone costs a
/// reference count.
#[must_use]
pub struct InterceptLayer<L> {
    shared: Arc<Shared<L>>,
}

/// What the services of one layer share.
pub(super) struct Shared<L> {
    // Of its own, because a setter keeps it, whether it can be copied or not.
    pub(super) links: Arc<L>,
    pub(super) config: Config,
    pub(super) state: Arc<State>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) max_message_bytes: usize,
    pub(super) refuses_unreadable: bool,
    pub(super) max_held: usize,
    pub(super) max_held_bytes: usize,
    pub(super) max_held_per_owner: Option<usize>,
    pub(super) keep_alive: Option<Duration>,
}

impl Config {
    pub(super) const DEFAULT: Self = Self {
        max_message_bytes: InterceptLayer::DEFAULT_MAX_MESSAGE_BYTES,
        refuses_unreadable: false,
        max_held: InterceptLayer::DEFAULT_MAX_HELD,
        max_held_bytes: InterceptLayer::DEFAULT_MAX_HELD_BYTES,
        max_held_per_owner: None,
        keep_alive: Some(InterceptLayer::DEFAULT_KEEP_ALIVE),
    };

    /// How much may be held.
    pub(super) const fn bounds(&self) -> Bounds {
        Bounds {
            messages: self.max_held,
            bytes: self.max_held_bytes,
            per_owner: self.max_held_per_owner,
            replacement: self.max_message_bytes,
        }
    }
}

impl<L: Links> InterceptLayer<L> {
    /// Asks `links`: an interceptor, a tuple of them, or a [`Chain`](super::Chain). What goes to the server
    /// goes through them from the first to the last, and what comes back from the last to the first.
    pub fn new(links: L) -> Self {
        Self {
            shared: Arc::new(Shared {
                links: Arc::new(links),
                config: Config::DEFAULT,
                state: Arc::default(),
            }),
        }
    }
}

impl InterceptLayer<()> {
    /// The longest message that is inspected by default: 16 MiB.
    pub const DEFAULT_MAX_MESSAGE_BYTES: usize = DEFAULT_MAX_EVENT_BYTES;

    /// How many messages are held at a time by default: 1,024.
    pub const DEFAULT_MAX_HELD: usize = 1_024;

    /// How many bytes those have together by default: 64 MiB.
    pub const DEFAULT_MAX_HELD_BYTES: usize = 64 * 1024 * 1024;

    /// How long a client hears nothing by default while an event is held, before it is sent a comment: 15 s.
    pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);
}

impl<L> InterceptLayer<L> {
    /// Ends responses that somebody is interested in, and that have a longer message: whoever waits for an
    /// answer is told so. Nor may a replacement be longer.
    ///
    /// Requests are read by a [`MessageLayer`](crate::message), which has a limit of its own; if there is
    /// none outside, up to 4 MiB in 30 s.
    pub fn with_max_message_bytes(self, bytes: usize) -> Self {
        self.change(|config| config.max_message_bytes = bytes)
    }

    /// Whether a response ends where somebody is interested, and something cannot be read: what is no
    /// JSON-RPC message, or can be read in two ways. What is neither JSON nor an event stream, or has several
    /// types, is then refused with 502, or breaks off if it does not say what it is.
    ///
    /// By default that passes (S22), because servers also send other things. What clients may take for
    /// [a response](crate::intercept#what-counts-as-a-response) does not pass unread in either case, if
    /// somebody is interested in responses. Nor do requests that cannot be read, if somebody is interested in
    /// anything.
    pub fn with_unreadable_refused(self, refused: bool) -> Self {
        self.change(|config| config.refuses_unreadable = refused)
    }

    /// How many messages are held at a time. One more is treated as if its deadline had passed.
    ///
    /// A message is held until somebody decides or its deadline has passed, whether its client is there to
    /// read what comes of it or not.
    pub fn with_max_held(self, messages: usize) -> Self {
        self.change(|config| config.max_held = messages)
    }

    /// How many bytes the messages that are held have together, each with the body or event that it came
    /// in. One that would be too much is treated as if its deadline had passed.
    pub fn with_max_held_bytes(self, bytes: usize) -> Self {
        self.change(|config| config.max_held_bytes = bytes)
    }

    /// How many of them are one client's: a principal's, or a session's where there is no principal; those
    /// of all others count together. By default a quarter of [all](Self::with_max_held). One more is
    /// treated as if its deadline had passed.
    ///
    /// Who has more than one has no greater part of the bytes than of the messages.
    pub fn with_max_held_per_owner(self, messages: usize) -> Self {
        self.change(|config| config.max_held_per_owner = Some(messages))
    }

    /// Sends the client of a stream a comment whenever it has heard nothing for that long because an event
    /// is being decided about (SSE-14). `None` sends none.
    ///
    /// A [`ReplayLayer`](crate::replay) outside sends some too. Whoever is first is enough.
    pub fn with_keep_alive(self, every: Option<Duration>) -> Self {
        self.change(|config| config.keep_alive = every)
    }

    /// Looks at what the layer counts, and decides about what it holds.
    #[must_use]
    pub fn handle(&self) -> InterceptHandle {
        InterceptHandle::new(Arc::clone(&self.shared.state))
    }

    fn change(self, change: impl FnOnce(&mut Config)) -> Self {
        let Shared {
            links,
            config,
            state,
        } = &*self.shared;
        let mut config = *config;
        change(&mut config);
        Self {
            shared: Arc::new(Shared {
                links: Arc::clone(links),
                config,
                state: Arc::clone(state),
            }),
        }
    }
}

impl<S, L> Layer<S> for InterceptLayer<L> {
    type Service = Intercept<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Intercept::with_shared(inner, Arc::clone(&self.shared))
    }
}

impl<L> Clone for InterceptLayer<L> {
    fn clone(&self) -> Self {
        let Self { shared } = self;
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl<L> fmt::Debug for InterceptLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        shared.debug(&mut f.debug_struct("InterceptLayer"))
    }
}

impl<L> Shared<L> {
    pub(super) fn debug(&self, f: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        let links = std::any::type_name::<L>();
        f.field("links", &format_args!("{links}"))
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
