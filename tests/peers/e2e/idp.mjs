// An OpenID provider: npm's oidc-provider, with what a test needs to misuse it.
//
// usage: idp.mjs <port> <audience> <granted>
//
// What it grants becomes lines of the file <granted>, with what was shown for it: codes, verifiers, tokens.
// Besides the provider's own endpoints:
//   GET  /test/counts              how often its metadata and keys were fetched
//   POST /test/rotate              another key signs from now on, and only that is published
//   GET  /test/token?kind=…&sub=…  a token that nobody should believe, or one whose claims are chosen: `good`, `expired`,
//                                  `audience`, `none`, `hs`, `kid`

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

import * as jose from "jose";
import { Provider } from "oidc-provider";

const [port, audience, granted] = [Number(process.argv[2]), ...process.argv.slice(3)];
const issuer = `http://127.0.0.1:${port}`;
const GROUPS = { jane: ["developers", "on-call"], joe: ["sales"], service: ["robots"] };
const counts = { metadata: 0, keys: 0 };
let rotations = 0;
let signer;
let provider;

async function rotate() {
  rotations += 1;
  const kid = `key-${rotations}`;
  const { privateKey } = await jose.generateKeyPair("RS256", { extractable: true });
  const jwk = { ...(await jose.exportJWK(privateKey)), kid, alg: "RS256", use: "sig" };
  signer = { kid, key: privateKey, jwk };
  const configuration = {
    jwks: { keys: [jwk] },
    cookies: { keys: ["a cookie's key"] },
    pkce: { required: () => true },
    conformIdTokenClaims: false,
    claims: { openid: ["sub"], groups: ["groups"] },
    scopes: ["openid", "groups"],
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, groups: GROUPS[sub] ?? [] }) }),
    extraTokenClaims: (_, token) => ({ groups: GROUPS[token.accountId ?? token.clientId] ?? [] }),
    ttl: { IdToken: 600, DeviceCode: 600 },
    clients: [
      {
        client_id: "service", client_secret: "the service's secret", grant_types: ["client_credentials"],
        response_types: [], redirect_uris: [], token_endpoint_auth_method: "client_secret_post",
      },
      {
        client_id: "weir", application_type: "native", token_endpoint_auth_method: "none",
        redirect_uris: ["http://127.0.0.1/callback"], response_types: ["code"],
        grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
      },
    ],
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: "mcp", audience: resource, accessTokenTTL: 600, accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  };
  provider = new Provider(issuer, configuration);
  provider.on("grant.success", ({ oidc: { params }, body }) => {
    const secrets = [params.code, params.code_verifier, params.device_code, body.access_token, body.id_token, body.refresh_token];
    appendFileSync(granted, secrets.filter(Boolean).map((secret) => `${secret}\n`).join(""));
  });
  handle = provider.callback();
}

let handle;

async function token(query) {
  const kind = query.get("kind");
  const now = Math.floor(Date.now() / 1000);
  const sub = query.get("sub") ?? "jane";
  const claims = { iss: issuer, aud: audience, sub, iat: now, exp: now + 600, groups: GROUPS[sub] ?? [] };
  const header = { alg: "RS256", kid: signer.kid };
  switch (kind) {
    case "expired":
      claims.exp = now - 600;
      break;
    case "audience":
      claims.aud = "https://somebody.else.test/mcp";
      break;
    case "kid":
      header.kid = `invented-${Math.random()}`;
      break;
    case "none":
      return new jose.UnsecuredJWT(claims).encode();
    case "hs": {
      // The published key, as everybody can write it down, taken for a secret.
      const pem = await jose.exportSPKI(await jose.importJWK({ kty: "RSA", n: signer.jwk.n, e: signer.jwk.e }, "RS256", { extractable: true }));
      return new jose.SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: signer.kid }).sign(new TextEncoder().encode(pem));
    }
  }
  return new jose.SignJWT(claims).setProtectedHeader(header).sign(signer.key);
}

await rotate();
const server = createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  switch (url.pathname) {
    case "/test/counts":
      return response.end(JSON.stringify(counts));
    case "/test/rotate":
      await rotate();
      return response.end();
    case "/test/token":
      return response.end(await token(url.searchParams));
    case "/.well-known/openid-configuration":
      counts.metadata += 1;
      break;
    case "/jwks":
      counts.keys += 1;
      break;
  }
  return handle(request, response);
});
server.listen(port, "127.0.0.1", () => console.log("ready"));
