//! What commands ask of another operator over its exchange API.

use counterfoil_gateway::home::Home;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::Acknowledgement;
use counterfoil_protocol::trust::Trust;

use crate::answer::Problem;

/// Another operator, asked in this operator's name.
#[derive(Debug)]
pub(crate) struct Peer {
    operator: OperatorName,
}

impl Peer {
    /// The operator as the manifests kept in `home` describe it.
    pub(crate) fn new(
        _home: &Home,
        _trust: &Trust,
        operator: &OperatorName,
    ) -> Result<Self, Problem> {
        Ok(Self {
            operator: operator.clone(),
        })
    }

    /// The receipt of one of its records.
    pub(crate) async fn receipt(&self, id: RecordId) -> Result<Vec<u8>, Problem> {
        Err(Problem::new(format!(
            "cannot ask {} for {id} yet",
            self.operator
        )))
    }

    /// The last of our records that it has received without a gap before it.
    pub(crate) async fn acknowledged(&self) -> Result<Option<Acknowledgement>, Problem> {
        Err(Problem::new(format!("cannot ask {} yet", self.operator)))
    }
}
