use bytes::Bytes;
use mobillm_core::transport::{Lane, TransportConfig, TransportError};
use serde_json::json;
use tokio::runtime;

use crate::libraries::config;
use crate::{in_c, in_rust, names};

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
        // The ABI asks for it in `info`.
        let call = if at == "overhead" { "info" } else { at };
        let call = format!("{call} panicked");
        names(message, "transport `hostile.panics`", &library, &call, "blew");
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

#[test]
fn lies_are_told() {
    let library = in_c();
    let of = |fault: &str| -> Box<dyn TransportConfig> {
        config(&format!("hostile.{fault}"), json!({}))
    };
    let lied = |fault: &str, said: &str, call: &str, expected: &str| {
        let call = format!("{call} gave something wrong");
        names(said, &format!("transport `hostile.{fault}`"), &library, &call, expected);
    };
    for (fault, call, expected) in [
        ("crosses-is-no-flag", "crosses_processes", "2, expected 0 or 1"),
        ("no-overhead", "info", "missing field `overhead`"),
    ] {
        lied(fault, &of(fault).check()[0].to_string(), call, expected);
    }
    let transport = of("cost-falls").build();
    let costs = [(); 3].map(|()| transport.emulated().unwrap());
    assert_eq!((costs[0].lost_packets, costs[0].up_seconds), (3, 5.0));
    assert_eq!(costs, [costs[0]; 3], "a cost never falls");

    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let said = |error: Option<TransportError>| error.unwrap().to_string();
    let error = runtime.block_on(of("half-a-link").build().connect()).err();
    lied("half-a-link", &said(error), "connect", "a link that lacks a half");
    let error = runtime.block_on(of("address-is-no-text").build().listen()).err();
    lied("address-is-no-text", &said(error), "listen", "the address is no text");
    let mut link = runtime.block_on(of("endless-frame").build().connect()).unwrap();
    let error = runtime.block_on(link.source.receive()).err();
    lied("endless-frame", &said(error), "receive", "bytes after 0, which is too much");
}

#[test]
fn a_writer_that_is_kept_reaches_nothing() {
    in_c();
    let config: Box<dyn TransportConfig> = config("hostile.writes-later", json!({}));
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut link = config.build().connect().await.unwrap();
        link.sink.send(Bytes::from_static(b"frame"), Lane::Bulk).await.unwrap();
        let error = link.sink.close().await.unwrap_err().to_string();
        assert!(error.contains("close: it gave no reason (status 1)"), "{error}");
    });
}
