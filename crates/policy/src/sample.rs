//! Policies to start from: `counterfoil init` writes them, and newcomers copy from them.

/// The files of a sample policy for the operator whose tools are called: a support desk with the
/// tools `read_ticket`, `search`, `send_mail` and `refund`. As (name, text).
pub const fn sample() -> &'static [(&'static str, &'static str)] {
    &[
        (
            "schema.cedarschema",
            include_str!("sample/schema.cedarschema"),
        ),
        ("read.cedar", include_str!("sample/read.cedar")),
        ("send_mail.cedar", include_str!("sample/send_mail.cedar")),
        ("refund.cedar", include_str!("sample/refund.cedar")),
    ]
}

/// The files of a sample policy for the operator whose agent calls: what `acme.example` lets its
/// `support-bot` ask of such a support desk. As (name, text).
pub const fn calling_sample() -> &'static [(&'static str, &'static str)] {
    &[
        (
            "schema.cedarschema",
            include_str!("sample/schema.cedarschema"),
        ),
        (
            "support_bot.cedar",
            include_str!("sample/support_bot.cedar"),
        ),
    ]
}
