//! Keys of other services, known by their first letters.

use super::{
    github::ends_with_checksum,
    token::{Form, plain},
};
use crate::config::Detector::ApiKey;

pub(super) const FORMS: &[Form] = &[
    // Anthropic, OpenAI, Hugging Face.
    plain(ApiKey, "sk-ant-", "sk-ant-[0-9A-Za-z]+-[0-9A-Za-z_-]{24,}"),
    plain(ApiKey, "sk-proj-", "sk-proj-[0-9A-Za-z_-]{40,}"),
    plain(ApiKey, "sk-svcacct-", "sk-svcacct-[0-9A-Za-z_-]{40,}"),
    plain(ApiKey, "sk-", "sk-[0-9A-Za-z]{20}T3BlbkFJ[0-9A-Za-z]{20}"),
    plain(ApiKey, "hf_", "hf_[0-9A-Za-z]{34}"),
    // npm's are made as GitHub's are; PyPI's are macaroons for `pypi.org`.
    Form { detector: ApiKey, prefix: "npm_", pattern: "npm_[0-9A-Za-z]{36}", check: ends_with_checksum },
    plain(ApiKey, "pypi-AgEIcHlwaS5vcmc", "pypi-AgEIcHlwaS5vcmc[0-9A-Za-z_-]{50,}"),
    // DigitalOcean, Databricks, Shopify, SendGrid, HashiCorp Vault and Terraform, Linear, Docker, Grafana, Doppler, Fly, Postman.
    plain(ApiKey, "dop_v1_", "dop_v1_[0-9a-f]{64}"),
    plain(ApiKey, "dapi", "dapi[0-9a-f]{32}(?:-[0-9])?"),
    plain(ApiKey, "shpat_", "shpat_[0-9A-Fa-f]{32}"),
    plain(ApiKey, "shpss_", "shpss_[0-9A-Fa-f]{32}"),
    plain(ApiKey, "SG.", r"SG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43}"),
    plain(ApiKey, "hvs.", r"hvs\.[0-9A-Za-z_-]{24,}"),
    plain(ApiKey, "hvb.", r"hvb\.[0-9A-Za-z_-]{100,}"),
    plain(ApiKey, "lin_api_", "lin_api_[0-9A-Za-z]{40}"),
    plain(ApiKey, "dckr_pat_", "dckr_pat_[0-9A-Za-z_-]{27}"),
    plain(ApiKey, "glsa_", "glsa_[0-9A-Za-z]{32}_[0-9A-Fa-f]{8}"),
    plain(ApiKey, "dp.pt.", r"dp\.pt\.[0-9A-Za-z]{40,44}"),
    plain(ApiKey, "PMAK-", "PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
];
