//! Bytes up over the formula of the egress manifest.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use mobillm::egress::Counts;

use super::walk::{Rig, Setup, Walk};
use crate::Error;
use crate::figure::Figure;

const ROWS: usize = 160;

/// One figure for each transport.
pub fn figures(setup: &Setup) -> Result<Vec<Figure>, Error> {
    Ok(vec![in_memory(setup)?, tcp(setup)?])
}

/// Frames as they are handed over.
fn in_memory(setup: &Setup) -> Result<Figure, Error> {
    let walk = Walk::new(setup, &[format!("task.limit={ROWS}")])?;
    let rig = Rig::new(&walk)?;
    let transport = walk.loaded.config.link.transport.build();
    let (device, server) = rig.block_on(async {
        let mut listener = transport.listen().await?;
        Ok((transport.connect().await?, listener.accept().await?))
    })?;
    let state = rig.run(&*transport, device, server)?;
    Ok(figure(&walk, "in-memory", state.link.bytes_up, "as the link counts them"))
}

/// What a relay between device and server passes on: the runtime does not count here.
fn tcp(setup: &Setup) -> Result<Figure, Error> {
    let at = |address: &str| {
        let transport = format!("link.transport={{type='tcp',address='{address}'}}");
        Walk::new(setup, &[format!("task.limit={ROWS}"), transport])
    };
    let walk = at("127.0.0.1:0")?;
    let rig = Rig::new(&walk)?;
    let server = walk.loaded.config.link.transport.build();
    let mut listener = rig.block_on(server.listen())?;
    let address: SocketAddr = listener.address().parse()?;
    let between = TcpListener::bind("127.0.0.1:0")?;
    let device = at(&between.local_addr()?.to_string())?.loaded.config.link.transport.build();
    let relay = thread::spawn(move || relay(&between, address));
    let (device_end, server_end) =
        rig.block_on(async { Ok((device.connect().await?, listener.accept().await?)) })?;
    rig.run(&*device, device_end, server_end)?;
    let up = relay.join().map_err(|_| "the relay panicked")??;
    Ok(figure(&walk, "tcp", up, "counted between the sockets"))
}

/// Passes one connection on to `server`; the bytes that went up.
fn relay(listener: &TcpListener, server: SocketAddr) -> io::Result<u64> {
    let (device, _) = listener.accept()?;
    let server = TcpStream::connect(server)?;
    thread::scope(|scope| {
        scope.spawn(|| pass(&server, &device));
        pass(&device, &server)
    })
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<u64> {
    let bytes = io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)?;
    Ok(bytes)
}

fn figure(walk: &Walk<'_>, transport: &str, up: u64, how: &str) -> Figure {
    let (expected, Counts { micro_batches, samples, rows, steps }) = walk.formula();
    let note = format!(
        "{up} bytes, {how}; {expected} by the egress manifest for {samples} samples of {rows} \
         tokens in {micro_batches} micro-batches and {steps} steps"
    );
    let share = 100.0 * up as f64 / expected as f64;
    Figure::new(format!("bytes up, {transport}"), share, "% of the formula")
        .within(99.0, 101.0)
        .note(note)
}
