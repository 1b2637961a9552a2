//! Frames, handshake and session state machine between device and server, without I/O
