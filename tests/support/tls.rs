//! Certificates for stand-ins behind TLS.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

pub fn authority(name: &str) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
}

/// A file in this folder with the certificates of all these authorities.
pub fn file(folder: &Path, authorities: &[&Authority]) -> String {
    let path = folder.join(format!("{}.pem", fastrand::u64(..)));
    std::fs::write(&path, authorities.iter().map(|authority| authority.pem.as_str()).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What a server shows: a certificate for `names`, signed by itself where there is no issuer.
pub fn acceptor(issuer: Option<&Authority>, names: &[&str], expired: bool) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    if expired {
        params.not_after = date_time_ymd(2024, 1, 1);
    }
    let certificate = match issuer {
        Some(authority) => params.signed_by(&key, &authority.issuer),
        None => params.self_signed(&key),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.unwrap().der().clone()], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}
