// TLS in front of a server that has none, such as the package's own `server-everything`: decrypts and forwards bytes.
// Prints `listening on <url>` once it accepts connections.
//
// usage: node tls_front.mjs <cert.pem> <key.pem> <port of the plain server> [port to listen on]

import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createServer } from "node:tls";

const [cert, key, backend, port = "0"] = process.argv.slice(2);
if (!backend) {
  console.error("usage: node tls_front.mjs <cert.pem> <key.pem> <port of the plain server> [port to listen on]");
  process.exit(2);
}

const front = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (client) => {
  const server = connect(Number(backend), "127.0.0.1");
  for (const [one, other] of [[client, server], [server, client]]) {
    one.on("error", () => other.destroy());
    one.pipe(other);
  }
});
front.listen(Number(port), "127.0.0.1", () => {
  console.log(`listening on https://localhost:${front.address().port}`);
});
