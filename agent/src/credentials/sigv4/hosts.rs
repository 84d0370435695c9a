//! As which service and region AWS's own host names are to be signed for.

use super::Scope;

/// The scope that a host's name tells.
///
/// | host | service |
/// |---|---|
/// | `bedrock-agentcore.<region>.amazonaws.com`, `<gateway>.gateway.bedrock-agentcore.<region>.amazonaws.com` | `bedrock-agentcore` |
/// | `<service>-mcp.<region>.api.aws` | `<service>-mcp` |
/// | `<id>.lambda-url.<region>.on.aws` | `lambda` |
/// | `<api>.execute-api.<region>.amazonaws.com` | `execute-api` |
/// | `<name>.<hash>.vpc-lattice-svcs.<region>.on.aws` | `vpc-lattice-svcs` |
/// | `<service>.<region>.amazonaws.com` | `<service>` |
///
/// The same in VPC endpoints (`….<region>.vpce.amazonaws.com`) and in China (`….amazonaws.com.cn`). A name of one's own tells
/// nothing.
pub(super) fn scope_of(host: &str) -> Option<Scope> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let (labels, at_aws) = labels_of(&host)?;
    let (region, before) = labels.split_last()?;
    let (last, more) = before.split_last()?;
    let service = match (at_aws, *last, more) {
        (Domain::OnAws, "lambda-url", [_]) => "lambda",
        (Domain::OnAws, "vpc-lattice-svcs", [_, ..]) => "vpc-lattice-svcs",
        (Domain::ApiAws, service, []) => service,
        (Domain::Amazonaws, "execute-api", [_, ..]) => "execute-api",
        (Domain::Amazonaws, "bedrock-agentcore", _) => "bedrock-agentcore",
        (Domain::Amazonaws, service, []) => service,
        _ => return None,
    };
    is_region(region).then(|| Scope { service: service.to_owned(), region: (*region).to_owned() })
}

#[derive(Debug, Clone, Copy)]
enum Domain {
    Amazonaws,
    OnAws,
    ApiAws,
}

fn labels_of(host: &str) -> Option<(Vec<&str>, Domain)> {
    const DOMAINS: [(&str, Domain); 6] = [
        (".vpce.amazonaws.com", Domain::Amazonaws),
        (".vpce.amazonaws.com.cn", Domain::Amazonaws),
        (".amazonaws.com", Domain::Amazonaws),
        (".amazonaws.com.cn", Domain::Amazonaws),
        (".on.aws", Domain::OnAws),
        (".api.aws", Domain::ApiAws),
    ];
    let found = DOMAINS.iter().find_map(|(suffix, domain)| Some((host.strip_suffix(suffix)?, *domain)))?;
    Some((found.0.split('.').collect(), found.1))
}

/// `us-east-1`, `us-gov-west-1`, `ap-southeast-2`: letters, then words, then a number.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let [area, words @ .., number] = parts.as_slice() else { return false };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    is_word(area)
        && !words.is_empty()
        && words.iter().all(|word| is_word(word))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_aws_tell_what_to_sign_for() {
        for (host, service, region) in [
            ("bedrock-agentcore.us-east-1.amazonaws.com", "bedrock-agentcore", "us-east-1"),
            ("gw-1.gateway.bedrock-agentcore.eu-central-1.amazonaws.com", "bedrock-agentcore", "eu-central-1"),
            ("vpce-0a-1b.bedrock-agentcore.us-west-2.vpce.amazonaws.com", "bedrock-agentcore", "us-west-2"),
            ("aws-mcp.us-east-1.api.aws", "aws-mcp", "us-east-1"),
            ("eks-mcp.ap-southeast-2.api.aws", "eks-mcp", "ap-southeast-2"),
            ("abc123.lambda-url.eu-west-1.on.aws", "lambda", "eu-west-1"),
            ("a1b2.execute-api.us-gov-west-1.amazonaws.com", "execute-api", "us-gov-west-1"),
            ("a1b2.execute-api.cn-north-1.amazonaws.com.cn", "execute-api", "cn-north-1"),
            ("tools-0f.7d67968.vpc-lattice-svcs.us-east-2.on.aws", "vpc-lattice-svcs", "us-east-2"),
            ("STS.us-east-1.amazonaws.com.", "sts", "us-east-1"),
        ] {
            let scope = scope_of(host).unwrap_or_else(|| panic!("{host}"));
            assert_eq!((scope.service.as_str(), scope.region.as_str()), (service, region), "{host}");
        }
        for host in [
            "mcp.example.com",
            "knowledge-mcp.global.api.aws",
            "execute-api.us-east-1.amazonaws.com.evil.test",
            "us-east-1.amazonaws.com",
            "x.lambda-url.on.aws",
            "a.b.us-east-1.amazonaws.com",
            "192.0.2.1",
            "",
        ] {
            assert_eq!(scope_of(host), None, "{host}");
        }
    }
}
