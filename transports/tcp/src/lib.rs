//! Length-prefixed frames over TCP on the loopback interface
