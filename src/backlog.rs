//! The log's way out. Records wait in a queue with a limit, and a thread of its own writes them, so that a log that
//! nobody reads (a pipe that is full) holds nobody up.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::telemetry::AUDIT;

/// So many bytes may wait before ordinary records are dropped: some thousand records.
const ORDINARY_LIMIT: usize = 256 * 1024;
/// So many bytes may wait before audit records are dropped as well: those of more than ten thousand commands.
const AUDIT_LIMIT: usize = 4 * 1024 * 1024;
/// At the end, a log that takes not one record in this time is given up.
const STALLED: Duration = Duration::from_secs(1);
/// At the end, a log that is read, but slowly, gets so many times [`STALLED`].
const ROUNDS: u32 = 5;

/// Takes the log's records and never blocks; what finds no room is counted and dropped, audit records last.
///
/// Once everything that waited is written, the log itself tells how many records are missing before that place.
#[derive(Clone)]
pub struct Backlog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
    /// Whenever the thread is done with a record.
    progress: Notify,
}

#[derive(Default)]
struct Queue {
    records: VecDeque<Record>,
    /// Of all records that wait.
    bytes: usize,
    /// Whether the thread is at work on a record.
    writing: bool,
    /// How many records were taken in.
    taken: u64,
    /// How many records the thread is done with.
    finished: u64,
    lost: Lost,
}

struct Record {
    text: Vec<u8>,
    audit: bool,
}

/// Records that were dropped or could not be written, and that the log has not told of.
#[derive(Default)]
struct Lost {
    ordinary: usize,
    audits: usize,
}

impl Backlog {
    /// Starts the thread that writes to `out`. It ends with the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let backlog = Self(shared.clone());
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_all_to(out))?;
        Ok(backlog)
    }

    /// Completes when the log has taken, or refused, everything that waits now.
    pub async fn written(&self) {
        let Shared { progress, .. } = &*self.0;
        let last = self.0.lock().taken;
        loop {
            let mut progressed = pin!(progress.notified());
            progressed.as_mut().enable();
            if self.0.lock().finished >= last {
                return;
            }
            progressed.await;
        }
    }

    /// Waits until everything is written, and gives the number of records that nobody will see and that the log
    /// does not tell of. If nobody reads, it waits for 1 s; if somebody reads slowly, for 5 s at most.
    #[must_use]
    pub fn finish(&self) -> usize {
        let mut queue = self.0.lock();
        for _ in 0..ROUNDS {
            let before = queue.finished;
            let waited = self.0.emptied.wait_timeout_while(queue, STALLED, |queue| !queue.is_idle());
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            if queue.is_idle() || queue.finished == before {
                break;
            }
        }
        queue.lost.ordinary + queue.lost.audits + queue.records.len() + usize::from(queue.writing)
    }
}

impl Shared {
    /// Nothing panics while the queue is held, and if something did, the queue would still be whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: Record) {
        let mut queue = self.lock();
        let limit = if record.audit { AUDIT_LIMIT } else { ORDINARY_LIMIT };
        if queue.bytes + record.text.len() > limit {
            queue.lost.count(&record);
            return;
        }
        queue.bytes += record.text.len();
        queue.taken += 1;
        queue.records.push_back(record);
        let asleep = !queue.writing;
        // Before the thread is woken, which would wait for it.
        drop(queue);
        if asleep {
            self.filled.notify_one();
        }
    }

    fn write_all_to(&self, mut out: impl Write) {
        let mut written = true;
        loop {
            let record = self.next();
            // What failed may have been written in part, as when a disk is full: the next one gets a line of its own.
            let fresh_line = if written { "" } else { "\n" };
            let text = out.write_all(fresh_line.as_bytes()).and_then(|()| out.write_all(&record.text));
            written = text.and_then(|()| out.flush()).is_ok();
            self.finished(&record, written).tell();
        }
    }

    fn next(&self) -> Record {
        let mut queue = self.lock();
        queue.writing = false;
        loop {
            if let Some(record) = queue.records.pop_front() {
                queue.writing = true;
                queue.bytes -= record.text.len();
                return record;
            }
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives what the log can tell of now. It waits for a record that was written, for otherwise a log that can't
    /// be written to, such as a closed pipe, would be told of each failure and fail at that too.
    fn finished(&self, record: &Record, written: bool) -> Lost {
        let mut queue = self.lock();
        queue.finished += 1;
        self.progress.notify_waiters();
        if !written {
            queue.lost.count(record);
        }
        if written && queue.records.is_empty() { std::mem::take(&mut queue.lost) } else { Lost::default() }
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.records.is_empty() && !self.writing
    }
}

impl Lost {
    fn count(&mut self, record: &Record) {
        *(if record.audit { &mut self.audits } else { &mut self.ordinary }) += 1;
    }

    /// Audit records are told of under their own target: whoever keeps only those has to know too.
    fn tell(&self) {
        if self.ordinary > 0 {
            tracing::warn!(
                records = self.ordinary,
                "records are missing above: the log was not read, or could not be written"
            );
        }
        if self.audits > 0 {
            tracing::error!(target: AUDIT, records = self.audits, "audit records are missing above: the log was not read, or could not be written");
        }
    }
}

impl<'a> MakeWriter<'a> for Backlog {
    type Writer = Entry<'a>;

    fn make_writer(&'a self) -> Entry<'a> {
        Entry { shared: &self.0, audit: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Entry<'a> {
        Entry { shared: &self.0, audit: metadata.target() == AUDIT }
    }
}

/// The place of one record, which the formatter writes in one piece.
pub struct Entry<'a> {
    shared: &'a Shared,
    audit: bool,
}

impl Write for Entry<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.shared.push(Record { text: text.to_vec(), audit: self.audit });
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
