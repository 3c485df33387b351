// SPDX-License-Identifier: EUPL-1.2
//! A TCP link between two peers that a test can cut: connections die at once, new ones are refused until it is mended.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// One direction of dialling: whoever connects to its address reaches the target, while it is whole.
pub struct Link {
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Link {
    /// Listens at an address and passes connections on.
    ///
    /// # Errors
    /// Where the address cannot be listened at.
    pub async fn open(listen: SocketAddr, target: SocketAddr) -> std::io::Result<Link> {
        let listener = TcpListener::bind(listen).await?;
        let (whole, state) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((incoming, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(pass(incoming, target, state.clone()));
                }
            }
        });
        Ok(Link { whole, task })
    }

    /// Cuts or mends it.
    pub fn set_whole(&self, whole: bool) {
        self.whole.send_replace(whole);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.whole.send_replace(false);
        self.task.abort();
    }
}

async fn pass(mut incoming: TcpStream, target: SocketAddr, mut whole: watch::Receiver<bool>) {
    let Ok(mut outgoing) = TcpStream::connect(target).await else {
        return;
    };
    // Both ends are dropped when either side ends or the link is cut; what was under way is lost, as on a real line.
    tokio::select! {
        _ = copy_bidirectional(&mut incoming, &mut outgoing) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
