//! What has to come of a request with a cursor.

use http::StatusCode;
use shadowcat::store::End;

use super::client::Mode;
use super::op::{Kind, Reopen};
use super::oracle::{Course, Stream};
use super::request::{Answer, Claim, read_all};
use super::truth::{self, Truth};
use super::upstream::Call;
use super::world::{RETAIN, World};

impl World {
    /// Judges the response to a request with a cursor.
    pub(crate) fn resumed(&mut self, claim: Claim, response: Answer, top: u64) {
        let call = self.server.call();
        let stream = &self.streams[claim.stream];
        let now = stream
            .key
            .and_then(|key| truth::read(&self.book.store, key, stream.owner, claim.sequence));
        if !claim.is_own {
            assert_eq!(response.status(), 400, "RPL-3: {claim:?}");
            assert!(call.is_none(), "RPL-3: the server was called");
            let body = read_all(response);
            let same = self.refusal.get_or_insert_with(|| body.clone());
            assert_eq!(*same, body, "B24: refusals tell apart");
            return self.tally.outcome("foreign refused");
        }
        match response.status() {
            StatusCode::BAD_REQUEST if call.is_some() && stream.is_get() => {
                assert_eq!(claim.server, Reopen::Refuses);
                self.tally.outcome("anew refused");
            }
            StatusCode::BAD_REQUEST => {
                assert!(call.is_none(), "refused, but the server was called");
                let is_true = [claim.before, now]
                    .iter()
                    .any(|truth| self.may_refuse(stream, claim.sequence, *truth));
                assert!(
                    is_true,
                    "RPL-6: refused {claim:?}, {now:?}, {:?}",
                    stream.excuse
                );
                self.tally.outcome("own refused");
            }
            StatusCode::NO_CONTENT => {
                let is_over = matches!(stream.course, Course::Ended | Course::Broken);
                assert!(is_over && stream.kind == Kind::Generic, "SWF-11");
                assert_eq!(claim.sequence, stream.events.len() as u64, "SWF-11");
                self.tally.outcome("nothing more");
            }
            StatusCode::OK => self.went_on(claim, response, call, now, top),
            status => panic!("RPL-9: {status}"),
        }
    }

    fn may_refuse(&self, stream: &Stream, sequence: u64, truth: Option<Truth>) -> bool {
        if stream.is_deleted {
            return true;
        }
        let Some(truth) = truth else {
            let is_over = !matches!(stream.course, Course::Open | Course::Suspended);
            let is_expired = stream.fresh.elapsed() >= RETAIN || !self.setup.caps.is_loose();
            return stream.excuse.is_some() || is_over && is_expired;
        };
        !stream.is_get() && truth.floor > sequence + 1
    }

    fn went_on(
        &mut self,
        claim: Claim,
        response: Answer,
        call: Option<Call>,
        now: Option<Truth>,
        top: u64,
    ) {
        let at = claim.stream;
        let next = claim.sequence + 1;
        let is_kept = |truth: &Option<Truth>| truth.is_none_or(|truth| truth.floor <= next);
        let may_be_whole = [claim.before, now].iter().any(is_kept);
        let is_get = self.streams[at].is_get();
        assert!(is_get || may_be_whole, "RPL-2: 400 before any byte");
        let Some(call) = call else {
            let all = self.handle.streams();
            let is_log = all.last().is_some_and(|info| info.serial > top);
            if !is_log {
                self.tally.outcome("live");
                self.fence(at);
                return self.attach(at, Mode::Live, next, response);
            }
            self.tally.outcome("from the log");
            let stream = &self.streams[at];
            let is_over = !matches!(stream.course, Course::Open | Course::Suspended);
            let may_be_over = is_over || stream.may_be_given_up();
            assert!(may_be_over, "RPL-11: it is live");
            return self.attach(at, Mode::Log, next, response);
        };
        let stream = &mut self.streams[at];
        if let Some(theirs) = call.last_event_id {
            assert_eq!(stream.course, Course::Suspended, "SSE-8");
            assert_eq!(
                theirs.as_bytes(),
                stream.theirs,
                "SSE-8: from another place"
            );
            let (is_refused, repeats) = (
                claim.server == Reopen::Refuses,
                claim.server == Reopen::Repeats,
            );
            stream.reopen(call.tap, is_refused, repeats);
            self.tally.outcome("reopened");
            self.fence(at);
            return self.attach(at, Mode::Live, next, response);
        }
        self.tally.outcome("anew");
        assert!(stream.is_get(), "only a GET stream begins anew");
        let end = now
            .and_then(|now| now.end)
            .or(claim.before.and_then(|one| one.end));
        assert!(end.is_some(), "RPL-1: it goes on");
        let (who, kind, session, owner) = (
            stream.who,
            stream.kind,
            stream.session.clone(),
            stream.owner,
        );
        let nth = self.streams.iter().filter(|one| one.who == who).count();
        let mut anew = Stream::new(who, nth, owner, session, kind, call.tap);
        anew.serial = self.top();
        self.streams.push(anew);
        self.attach(self.streams.len() - 1, Mode::Live, 1, response);
        if end == Some(End::Lost) {
            let client = self.clients.last_mut().expect("just attached");
            client.lost_after = Some(claim.sequence);
        }
    }
}
