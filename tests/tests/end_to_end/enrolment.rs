//! Enrolment tokens: expired, used up, raced for, asked twice.

use anyhow::Result;
use wakemq_link::http::{Method, Upload};
use wakemq_protocol::http::{EnrolAnswer, EnrolRequest, Problem, TokenRequest};
use wakemq_protocol::{AgentId, Facts, Secret, SecretHash, SecretKind};
use wakemq_tests::clock::SetClock;
use wakemq_tests::in_process::{InProcessBroker, Injected};
use wakemq_tests::raw::{Login, Version};
use wakemq_tests::wait::within;

/// An agent that wants in, with a secret of its own.
struct Wanderer {
    agent: Option<AgentId>,
    secret: Secret,
}

impl Wanderer {
    fn new(agent: &str, number: u8) -> Self {
        Self { agent: agent.parse().ok(), secret: Secret::from_random(SecretKind::Agent, &[number; 32]) }
    }

    /// Asks over a connection of its own.
    async fn ask(&self, broker: &InProcessBroker, token: &Secret) -> Result<Result<EnrolAnswer, u16>> {
        let mut hash = [0; 32];
        hash.copy_from_slice(
            ring::digest::digest(&ring::digest::SHA256, self.secret.expose().as_bytes()).as_ref(),
        );
        let request = EnrolRequest {
            token: token.clone(),
            agent: self.agent.clone(),
            secret_sha256: SecretHash(hash),
            facts: Facts::default(),
        };
        let upload = Upload::json(serde_json::to_vec(&request)?);
        let mut http = broker.http(None)?;
        let (status, body) =
            within("an enrolment", http.request(Method::POST, "/v1/enrol", Some(upload))).await??;
        if status.is_success() {
            return Ok(Ok(serde_json::from_slice(&body)?));
        }
        let problem: Problem = serde_json::from_slice(&body)?;
        assert_eq!(problem.status, status.as_u16());
        assert!(!problem.detail.is_empty());
        Ok(Err(status.as_u16()))
    }

    /// Tells whether the secret lets it in.
    async fn is_let_in(&self, broker: &InProcessBroker, agent: &AgentId) -> Result<bool> {
        let mut client = broker.dial().await?;
        Ok(client.enter(&Login::new(Version::V5, agent.as_str(), self.secret.expose())).await.is_ok())
    }
}

async fn token(broker: &InProcessBroker, uses: u32, expires_in: u32) -> Result<Secret> {
    let request = TokenRequest { group: "a/b".parse()?, uses, expires_in };
    Ok(broker.management()?.create_token(&request).await?.token)
}

#[tokio::test]
async fn a_token_opens_as_often_as_it_says() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    let token = token(&broker, 2, 3600).await?;
    let (first, second, third) = (Wanderer::new("pc-1", 1), Wanderer::new("", 2), Wanderer::new("pc-3", 3));
    let answer = first.ask(&broker, &token).await?.expect("the first use");
    assert_eq!((answer.agent.as_str(), answer.group.as_str()), ("pc-1", "a/b"));
    assert_eq!(answer.endpoints, [broker.address()?.to_string()]);
    assert!(first.is_let_in(&broker, &answer.agent).await?);
    let answer = second.ask(&broker, &token).await?.expect("the second use; the broker names the agent");
    assert!(second.is_let_in(&broker, &answer.agent).await?);
    assert_eq!(third.ask(&broker, &token).await?, Err(410), "used up");
    assert!(!third.is_let_in(&broker, &"pc-3".parse()?).await?);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_and_uses_nothing() -> Result<()> {
    let clock = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: clock.clock(), ..Injected::default() }).await?;
    let token = token(&broker, 1, 60).await?;
    // Without an id of its own: the second answer must name the same agent.
    let (first, other) = (Wanderer::new("", 1), Wanderer::new("", 2));
    let answer = first.ask(&broker, &token).await?.expect("the one use");
    assert_eq!(first.ask(&broker, &token).await?, Ok(answer.clone()));
    assert_eq!(other.ask(&broker, &token).await?, Err(410));
    // Not even when the token has expired since.
    clock.pass(61_000);
    assert_eq!(first.ask(&broker, &token).await?, Ok(answer.clone()));
    assert!(first.is_let_in(&broker, &answer.agent).await?);
    Ok(())
}

#[tokio::test]
async fn a_token_that_has_expired_or_is_none_opens_nothing() -> Result<()> {
    let clock = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: clock.clock(), ..Injected::default() }).await?;
    let token = token(&broker, 5, 60).await?;
    let wanderer = Wanderer::new("pc-1", 1);
    clock.pass(61_000);
    assert_eq!(wanderer.ask(&broker, &token).await?, Err(410));
    assert_eq!(wanderer.ask(&broker, &Secret::from_random(SecretKind::Enrolment, &[9; 32])).await?, Err(403));
    assert_eq!(wanderer.ask(&broker, &broker.profile()?.secret).await?, Err(403), "an operator's secret");
    assert!(!wanderer.is_let_in(&broker, &"pc-1".parse()?).await?);
    Ok(())
}

#[tokio::test]
async fn of_two_that_race_for_the_last_use_one_gets_it() -> Result<()> {
    let time = SetClock::start();
    let broker = InProcessBroker::start(Injected { clock: time.clock(), ..Injected::default() }).await?;
    for round in 0..10 {
        // Long enough for the losers' secrets, which nobody has, to be forgotten.
        time.pass(600_000);
        let token = token(&broker, 1, 3600).await?;
        let one = Wanderer::new(&format!("one-{round}"), 2 * round + 1);
        let two = Wanderer::new(&format!("two-{round}"), 2 * round + 2);
        let (first, second) = tokio::try_join!(one.ask(&broker, &token), two.ask(&broker, &token))?;
        let (winner, loser) = match (&first, &second) {
            (Ok(answer), Err(410)) => ((&one, answer), &two),
            (Err(410), Ok(answer)) => ((&two, answer), &one),
            _ => panic!("{first:?} {second:?}"),
        };
        assert!(winner.0.is_let_in(&broker, &winner.1.agent).await?);
        let name = loser.agent.as_ref().expect("it named itself");
        assert!(!loser.is_let_in(&broker, name).await?);
    }
    Ok(())
}

#[tokio::test]
async fn an_id_that_exists_is_not_given_twice() -> Result<()> {
    let broker = InProcessBroker::start(Injected::default()).await?;
    broker.import(&["pc-1"]).await?;
    let token = token(&broker, 1, 3600).await?;
    assert_eq!(Wanderer::new("PC-1", 1).ask(&broker, &token).await?, Err(409), "two spellings of one id");
    assert!(Wanderer::new("pc-2", 2).ask(&broker, &token).await?.is_ok(), "the refusal used nothing");
    Ok(())
}
