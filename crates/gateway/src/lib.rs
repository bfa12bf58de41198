//! The MCP gateway and the exchange API between operators.

pub mod message;
