// SPDX-License-Identifier: EUPL-1.2
//! Writes what waits for a connection, at either end: all that is there goes in one write, which is one TLS record and one wakeup of the peer.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Sink, SinkExt};
use tokio::{sync::mpsc, task::yield_now, time::sleep};

use super::frame::Method;

/// Writes until the queue ends, a write fails, or nothing moves any more. `method` says what a frame belongs to; `frame` gives its bytes when its
/// turn comes, none if nobody waits for it any more.
pub(crate) async fn write<T>(
    sink: impl Sink<Bytes, Error = io::Error> + Unpin,
    first: Option<T>,
    queue: &mut mpsc::Receiver<T>,
    method: impl Fn(&T) -> Method,
    frame: impl FnMut(T) -> Option<Bytes>,
) -> io::Result<()> {
    write_while_moving(sink, first, queue, method, frame, || sleep(WRITE_TIME)).await
}

/// The time begins anew with each frame: on a link that is slower than what is offered the queue never runs dry, and yet all of it arrives.
async fn write_while_moving<T, A: Future>(
    mut sink: impl Sink<Bytes, Error = io::Error> + Unpin,
    first: Option<T>,
    queue: &mut mpsc::Receiver<T>,
    method: impl Fn(&T) -> Method,
    mut frame: impl FnMut(T) -> Option<Bytes>,
    too_long: impl Fn() -> A,
) -> io::Result<()> {
    let mut next = match first {
        Some(first) => Some(first),
        None => queue.recv().await,
    };
    while let Some(first) = next {
        if gathers(method(&first)) {
            let_others_speak().await;
        }
        let mut next_of_many = Some(first);
        while let Some(queued) = next_of_many {
            if let Some(bytes) = frame(queued) {
                unless(too_long(), sink.feed(bytes)).await?;
            }
            next_of_many = queue.try_recv().ok();
        }
        unless(too_long(), sink.flush()).await?;
        next = queue.recv().await;
    }
    Ok(())
}

/// What a step comes to, unless it takes too long.
async fn unless(
    too_long: impl Future,
    step: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::select! {
        biased;
        done = step => done,
        _ = too_long => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Many clients send an entry each at the same time, and a commit answers them all at once. Raft's appends and votes have connections of their
/// own, and wait for nobody.
fn gathers(method: Method) -> bool {
    matches!(method, Method::Submit)
}

/// Lets those tasks run that are ready, and those for which the sockets have something. The runtime would run the writer right after whoever woke
/// it, so each frame would be a write of its own. Where nobody else is ready, this returns at once.
async fn let_others_speak() {
    for _ in 0..2 {
        yield_now().await;
    }
}

/// For a frame: a peer that takes none of one in so long is gone.
const WRITE_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use std::{
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll},
    };

    use super::*;

    /// Counts what it is given.
    #[derive(Clone, Default)]
    struct Counter {
        frames: Arc<AtomicUsize>,
        writes: Arc<AtomicUsize>,
    }

    impl Sink<Bytes> for Counter {
        type Error = io::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, _: Bytes) -> io::Result<()> {
            self.frames.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Frames and writes, where tasks that are ready at the same time have one frame each.
    async fn written(method: Method, tasks: usize) -> (usize, usize) {
        let counter = Counter::default();
        let (sender, mut queue) = mpsc::channel(tasks);
        let sink = counter.clone();
        let writer =
            tokio::spawn(async move { write(sink, None, &mut queue, |_| method, Some).await });
        // One that the writer waits for already, and the rest from a task of the runtime, so that all of them are ready before any runs.
        let speak = tokio::spawn(async move {
            yield_now().await;
            for _ in 0..tasks {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(Bytes::new()).await });
            }
        });
        speak.await.unwrap();
        writer.await.unwrap().unwrap();
        let count = |it: &AtomicUsize| it.load(Ordering::Relaxed);
        (count(&counter.frames), count(&counter.writes))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn entries_of_many_clients_share_a_write_and_a_heartbeat_waits_for_nobody() {
        let (frames, writes) = written(Method::Submit, 24).await;
        assert_eq!(frames, 24);
        // The runtime looks at its sockets after so many tasks, and may let the writer run then.
        assert!(writes <= 3, "{writes}");
        let (frames, writes) = written(Method::Append, 24).await;
        assert_eq!(frames, 24);
        assert!(writes > 3, "{writes}");
    }

    /// A link over which a frame takes a while.
    #[derive(Clone, Default)]
    struct Slow {
        sent: Counter,
        /// Whether the next frame has taken its time.
        waited: bool,
        hangs: bool,
    }

    impl Sink<Bytes> for Slow {
        type Error = io::Error;

        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let waited = std::mem::replace(&mut self.waited, true);
            if waited && !self.hangs {
                return Poll::Ready(Ok(()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }

        fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> io::Result<()> {
            self.waited = false;
            Pin::new(&mut self.sent).start_send(frame)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.sent).poll_flush(cx)
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Frames that went over the link, and how it ended, where the time for one is over when it was looked at so often.
    async fn sent_slowly(hangs: bool, frames: usize, looks: usize) -> (usize, io::Result<()>) {
        let slow = Slow {
            hangs,
            ..Slow::default()
        };
        let (sender, mut queue) = mpsc::channel(frames);
        for _ in 0..frames {
            sender.send(Bytes::new()).await.unwrap();
        }
        drop(sender);
        let too_long = || async move {
            for _ in 0..looks {
                yield_now().await;
            }
        };
        let (sink, method) = (slow.clone(), |_: &Bytes| Method::SnapshotChunk);
        let ended = write_while_moving(sink, None, &mut queue, method, Some, too_long).await;
        (slow.sent.frames.load(Ordering::Relaxed), ended)
    }

    #[tokio::test]
    async fn a_queue_that_never_runs_dry_does_not_end_a_link_on_which_it_moves() {
        let (sent, ended) = sent_slowly(false, 100, 10).await;
        ended.unwrap();
        assert_eq!(sent, 100);
        let (sent, ended) = sent_slowly(true, 100, 10).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(sent, 0);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_written() {
        let counter = Counter::default();
        let (sender, mut queue) = mpsc::channel(2);
        for number in [2, 3] {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        let odd = |number: u8| (number % 2 == 1).then(Bytes::new);
        write(
            counter.clone(),
            Some(1),
            &mut queue,
            |_| Method::Submit,
            odd,
        )
        .await
        .unwrap();
        assert_eq!(counter.frames.load(Ordering::Relaxed), 2);
        assert_eq!(counter.writes.load(Ordering::Relaxed), 1);
    }
}
