use std::sync::Arc;

use super::backlog::Backlog;
use crate::store::SessionRecord;

/// A DELETE under way: the claim to be the one who asks the server to end a session (D09). Given up, it
/// leaves the next one its turn; but if the session has ended meanwhile, the server is told.
pub(super) struct Ending {
    /// Taken when the server has ended it.
    session: Option<SessionRecord>,
    backlog: Arc<Backlog>,
}

impl Ending {
    /// `None` if somebody else asks the server, or has told it.
    pub(super) fn claim(session: &SessionRecord, backlog: &Arc<Backlog>) -> Option<Self> {
        session.claim_end().then(|| Self {
            session: Some(session.clone()),
            backlog: Arc::clone(backlog),
        })
    }

    /// The server has ended it. Nobody has to tell it any more.
    pub(super) fn complete(mut self) {
        self.session = None;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Self { session, backlog } = self;
        if let Some(session) = session
            && session.release_end()
        {
            backlog.say_farewell(session);
        }
    }
}
