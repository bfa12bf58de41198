//! A small support desk: the tool server of `counterfoil demo`, written with the official Rust MCP
//! SDK. It knows nothing of Counterfoil; any other MCP server would do in its place.
//!
//! ```text
//! support-desk [--did FILE]
//! ```
//!
//! It speaks MCP on standard input and output, keeps its few tickets in memory, and appends one
//! line to FILE for everything it has really done. So a reader can compare what was done with what
//! the receipts say.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::schemars::JsonSchema;
use rmcp::{ServerHandler, ServiceExt as _, tool, tool_handler, tool_router, transport};
use serde::Deserialize;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let did = match arguments.as_slice() {
        [] => None,
        [option, path] if option == "--did" => Some(
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| anyhow::anyhow!("cannot open `{path}`: {error}"))?,
        ),
        _ => anyhow::bail!("usage: support-desk [--did FILE]"),
    };
    let desk = Desk::new(did).serve(transport::stdio()).await?;
    desk.waiting().await?;
    Ok(())
}

#[derive(Clone)]
struct Desk {
    tickets: Arc<Mutex<BTreeMap<String, Ticket>>>,
    did: Option<Arc<File>>,
    tool_router: ToolRouter<Self>,
}

struct Ticket {
    customer: &'static str,
    subject: &'static str,
    text: &'static str,
    paid_cents: i64,
    refunded_cents: i64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct ReadTicket {
    /// The ticket, such as T-1001.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Search {
    /// A word that the ticket contains.
    query: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct SendMail {
    /// The address it goes to.
    to: String,
    /// Its subject.
    subject: String,
    /// Its text.
    body: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Refund {
    /// The ticket that the refund is for.
    ticket: String,
    /// How much, in cents.
    amount_cents: i64,
}

#[tool_router]
impl Desk {
    fn new(did: Option<File>) -> Self {
        Self {
            tickets: Arc::new(Mutex::new(tickets())),
            did: did.map(Arc::new),
            tool_router: Self::tool_router(),
        }
    }

    #[tool(description = "Read one support ticket.")]
    async fn read_ticket(&self, Parameters(call): Parameters<ReadTicket>) -> CallToolResult {
        let tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        match tickets.get(&call.id) {
            Some(ticket) => self.done(
                &format!("read {}", call.id),
                format!(
                    "{}: {} (from {}, paid {}, refunded {}). {}",
                    call.id,
                    ticket.subject,
                    ticket.customer,
                    money(ticket.paid_cents),
                    money(ticket.refunded_cents),
                    ticket.text
                ),
            ),
            None => failed(format!("there is no ticket {}", call.id)),
        }
    }

    #[tool(description = "Search the tickets for a word.")]
    async fn search(&self, Parameters(call): Parameters<Search>) -> CallToolResult {
        let wanted = call.query.to_lowercase();
        let tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<String> = tickets
            .iter()
            .filter(|(_, ticket)| {
                let text = format!("{} {}", ticket.subject, ticket.text).to_lowercase();
                text.contains(&wanted)
            })
            .map(|(id, ticket)| format!("{id}: {}", ticket.subject))
            .collect();
        let answer = match found.as_slice() {
            [] => format!("no ticket contains `{}`", call.query),
            some => some.join("\n"),
        };
        self.done(&format!("searched for {:?}", call.query), answer)
    }

    #[tool(description = "Send a mail to a customer.")]
    async fn send_mail(&self, Parameters(call): Parameters<SendMail>) -> CallToolResult {
        let length = call.body.chars().count();
        let what = format!("sent mail {:?} to {}", call.subject, call.to);
        self.done(&what, format!("{what} ({length} characters)"))
    }

    #[tool(description = "Refund money that was paid for a ticket.")]
    async fn refund(&self, Parameters(call): Parameters<Refund>) -> CallToolResult {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ticket) = tickets.get_mut(&call.ticket) else {
            return failed(format!("there is no ticket {}", call.ticket));
        };
        let refunded = ticket.refunded_cents.checked_add(call.amount_cents);
        match refunded.filter(|total| *total <= ticket.paid_cents && call.amount_cents > 0) {
            Some(total) => {
                ticket.refunded_cents = total;
                let what = format!("refunded {} for {}", money(call.amount_cents), call.ticket);
                self.done(&what, what.clone())
            }
            None => failed(format!(
                "{} was paid {} and has {} back already",
                call.ticket,
                money(ticket.paid_cents),
                money(ticket.refunded_cents)
            )),
        }
    }

    /// Writes down what was done, and answers.
    fn done(&self, what: &str, answer: String) -> CallToolResult {
        if let Some(did) = &self.did
            && let Err(error) = writeln!(&**did, "{what}")
        {
            return failed(format!("cannot write down what was done: {error}"));
        }
        CallToolResult::success(vec![ContentBlock::text(answer)])
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Desk {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(
                "support-desk",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions("A support desk: read and search tickets, send mail, refund.")
    }
}

fn failed(why: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(why)])
}

fn money(cents: i64) -> String {
    format!("{}.{:02} EUR", cents / 100, cents % 100)
}

fn tickets() -> BTreeMap<String, Ticket> {
    [
        (
            "T-1001",
            "ann@customer.example",
            "Arrived broken",
            "The lamp arrived with a broken shade. Photos are attached.",
            4_900,
        ),
        (
            "T-1002",
            "ben@customer.example",
            "Wrong colour",
            "I ordered the green lamp and received the red one.",
            5_900,
        ),
        (
            "T-1003",
            "cem@customer.example",
            "Where is my order?",
            "It was to arrive on Monday. The tracking page shows nothing.",
            12_900,
        ),
    ]
    .into_iter()
    .map(|(id, customer, subject, text, paid_cents)| {
        let ticket = Ticket {
            customer,
            subject,
            text,
            paid_cents,
            refunded_cents: 0,
        };
        (id.to_owned(), ticket)
    })
    .collect()
}
