use bytes::Bytes;
use mobillm_core::transport::{Lane, TransportConfig, TransportError};
use serde_json::json;
use tokio::runtime;

use crate::libraries::config;
use crate::{in_rust, names, reason};

fn panicking(at: &str) -> Box<dyn TransportConfig> {
    config("hostile.panics", json!({ "at": at }))
}

/// Everything that a transport does, up to the first error.
async fn walk(config: &dyn TransportConfig) -> Result<(), TransportError> {
    let transport = config.build();
    let mut listener = transport.listen().await?;
    listener.accept().await?;
    let mut link = transport.connect().await?;
    link.sink.send(Bytes::from_static(b"frame"), Lane::Bulk).await?;
    link.source.receive().await?;
    link.sink.close().await
}

#[test]
fn a_panic_is_contained() {
    let library = in_rust();
    let blew = |message: &str, at: &str| {
        let call = format!("{at} panicked");
        names(message, "transport `hostile.panics`", &library, &call, reason(at));
    };
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    for at in ["check", "build", "crosses_processes", "overhead"] {
        blew(&panicking(at).check()[0].to_string(), at);
    }
    for at in ["build", "overhead", "listen", "accept", "connect", "send", "receive", "close"] {
        let error = runtime.block_on(walk(&*panicking(at))).unwrap_err();
        blew(&error.to_string(), at);
    }
    runtime.block_on(walk(&*panicking("nothing"))).unwrap();
    runtime.block_on(walk(&*panicking("release"))).unwrap();
}
