use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::*;
use crate::clock::Clock;
use crate::config::Config;

fn plan(data: &Path) -> Plan {
    let hosts = vec!["broker.example".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    Plan { data: data.to_owned(), hosts, ports: vec![8883, 443] }
}

async fn init(data: &Path) -> Result<(), InitError> {
    initialise(&plan(data), Clock::start().now()).await
}

fn snapshot(data: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Tells whether a client that trusts the directory's CA accepts its certificate for `name`.
fn accepts(data: &Path, name: &str) -> bool {
    let ca = CertificateDer::from_pem_file(data.join(CA)).unwrap();
    let server = CertificateDer::from_pem_file(data.join(CERTIFICATE)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let now = rustls::pki_types::UnixTime::now();
    rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, &server, &[], &name, &[], now)
        .is_ok()
}

#[tokio::test]
async fn a_directory_is_made_whole_and_never_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("deep").join("data");
    assert!(matches!(check(&data), Err(InitError::NotInitialised(_))));
    init(&data).await.unwrap();
    check(&data).unwrap();

    let mut expected = FILES.map(str::to_owned);
    expected.sort();
    assert_eq!(snapshot(&data).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), expected);
    for name in [CA_KEY, KEY, OPERATOR] {
        assert_eq!(fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    for name in ["broker.example", "10.0.0.1", "localhost", "127.0.0.1", "::1"] {
        assert!(accepts(&data, name), "{name}");
    }
    assert!(!accepts(&data, "other.example"));
    crate::transport::server_config::server_config(&data.join(CERTIFICATE), &data.join(KEY)).unwrap();

    let profile: Profile = toml::from_str(&fs::read_to_string(data.join(OPERATOR)).unwrap()).unwrap();
    assert_eq!(
        profile.endpoints,
        ["broker.example:8883", "broker.example:443", "10.0.0.1:8883", "10.0.0.1:443"]
    );
    assert_eq!(profile.ca, Some(fs::read_to_string(data.join(CA)).unwrap()));
    let config = Config::load(&data.join(CONFIG)).unwrap();
    assert_eq!(config.advertise.endpoints, plan(&data).hosts);

    let before = snapshot(&data);
    assert!(matches!(init(&data).await, Err(InitError::AlreadyInitialised(_))));
    assert_eq!(snapshot(&data), before);
}

#[tokio::test]
async fn the_first_administrator_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path()).await.unwrap();
    let profile: Profile = toml::from_str(&fs::read_to_string(dir.path().join(OPERATOR)).unwrap()).unwrap();
    let clock = Clock::start();
    let store = store::open(&dir.path().join(STORE), CACHE_BYTES, clock.now()).unwrap();
    let advertise = crate::engine::Advertise { endpoints: Vec::new(), ca: None };
    let events = Arc::new(crate::engine::NoEvents);
    let engine = crate::engine::Engine::new(store, clock, advertise, Arc::default(), events);
    let found = engine.authenticate(profile.secret.expose()).await.unwrap();
    let admin = crate::engine::Operator::from_principal(found.unwrap()).unwrap();
    assert_eq!((admin.name.as_str(), admin.role, admin.scope.is_root()), ("admin", Role::Admin, true));
}

#[tokio::test]
async fn a_crash_anywhere_is_made_good_by_the_next_call() {
    let model = tempfile::tempdir().unwrap();
    init(model.path()).await.unwrap();

    // While things were made: nothing of that counts.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(STAGE)).unwrap();
    fs::write(dir.path().join(STAGE).join(CA), "half a certif").unwrap();
    assert!(matches!(check(dir.path()), Err(InitError::Unfinished(_))));
    init(dir.path()).await.unwrap();
    check(dir.path()).unwrap();
    assert!(accepts(dir.path(), "localhost"));

    // After any number of moves: the rest follows, and what was made is what is used.
    for moved in 0..=FILES.len() {
        let dir = tempfile::tempdir().unwrap();
        let stage = dir.path().join(STAGE);
        fs::create_dir(&stage).unwrap();
        fs::write(stage.join(COMPLETE), "").unwrap();
        for (n, name) in FILES.iter().enumerate() {
            let to = if n < moved { dir.path() } else { &stage };
            fs::copy(model.path().join(name), to.join(name)).unwrap();
        }
        assert!(matches!(check(dir.path()), Err(InitError::Unfinished(_))));
        init(dir.path()).await.unwrap();
        check(dir.path()).unwrap();
        assert_eq!(snapshot(dir.path()), snapshot(model.path()), "after {moved} moves");
    }
}

#[tokio::test]
async fn only_a_directory_with_nothing_in_it_is_initialised_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let now = Clock::start().now();
    // What a volume's file system has of its own does not count.
    fs::create_dir_all(data.join("lost+found")).unwrap();
    assert!(initialise_if_missing(&plan(&data), now).await.unwrap());
    fs::remove_dir(data.join("lost+found")).unwrap();
    let made = snapshot(&data);
    let other = Plan { hosts: vec!["other.example".parse().unwrap()], ..plan(&data) };
    assert!(!initialise_if_missing(&other, now).await.unwrap());
    assert_eq!(snapshot(&data), made, "it is never touched again");

    fs::remove_file(data.join(STORE)).unwrap();
    let parts = snapshot(&data);
    let error = initialise_if_missing(&plan(&data), now).await.unwrap_err();
    assert!(error.to_string().contains("ca.key is there, store.redb is not"), "{error}");
    assert_eq!(snapshot(&data), parts);

    let half = dir.path().join("half");
    fs::create_dir_all(half.join(STAGE)).unwrap();
    let error = initialise_if_missing(&plan(&half), now).await.unwrap_err();
    assert!(matches!(error, InitError::Unfinished(_)), "{error}");
    assert!(half.join(STAGE).exists());
}

#[tokio::test]
async fn two_at_once_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let _other = lock(dir.path()).unwrap();
    assert!(matches!(init(dir.path()).await, Err(InitError::InUse(_))));
}

#[tokio::test]
async fn a_renewed_certificate_has_other_names_and_the_same_ca_and_key() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path()).await.unwrap();
    let kept = [CA, CA_KEY, KEY].map(|name| fs::read(dir.path().join(name)).unwrap());
    renew(dir.path(), &["new.example".parse().unwrap()], Clock::start().now()).unwrap();
    assert!(accepts(dir.path(), "new.example") && accepts(dir.path(), "localhost"));
    assert!(!accepts(dir.path(), "broker.example"));
    assert_eq!([CA, CA_KEY, KEY].map(|name| fs::read(dir.path().join(name)).unwrap()), kept);
    crate::transport::server_config::server_config(&dir.path().join(CERTIFICATE), &dir.path().join(KEY))
        .unwrap();
}

#[tokio::test]
async fn a_profile_gets_other_endpoints_and_stays_private() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path()).await.unwrap();
    set_profile_endpoints(dir.path(), &["127.0.0.1:1".into()]).unwrap();
    let path = dir.path().join(OPERATOR);
    let profile: Profile = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(profile.endpoints, ["127.0.0.1:1"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
