// Runs a cell, attaches to it again, and uploads a file, with the protocol's .proto files and nothing generated.
// Environment: SANDBOX_ADDRESS, SANDBOX_SERVER_NAME, SANDBOX_CA_FILE and SANDBOX_TOKEN (docs/grpc.md).
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const protos = process.env.SANDBOX_PROTOS ?? fileURLToPath(new URL("../../../proto", import.meta.url));
const definition = protoLoader.loadSync(
  ["sandbox_proto/v1/interpreter.proto", "sandbox_proto/v1/file.proto"],
  { includeDirs: [protos] },
);
const { InterpreterService, FileService } = grpc.loadPackageDefinition(definition).sandbox.v1;

const { SANDBOX_ADDRESS, SANDBOX_SERVER_NAME, SANDBOX_CA_FILE, SANDBOX_TOKEN } = process.env;
const credentials = grpc.credentials.createSsl(readFileSync(SANDBOX_CA_FILE));
// The certificate carries the session's name, whatever address the connection has.
const options = { "grpc.ssl_target_name_override": SANDBOX_SERVER_NAME, "grpc.default_authority": SANDBOX_SERVER_NAME };
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${SANDBOX_TOKEN}`);
const interpreter = new InterpreterService(SANDBOX_ADDRESS, credentials, options);
const files = new FileService(SANDBOX_ADDRESS, credentials, options);

// The loader spells field names in camel case, and drops a field that it does not know without an error.
// A call with a requestId that the agent knows attaches to the first one: the cell does not run again.
async function execute(code, requestId) {
  let output = "";
  for await (const { events } of interpreter.execute({ code, requestId }, metadata)) {
    for (const { output: piece, error } of events) {
      if (piece) output += piece.data.toString();
      if (error) throw new Error(`${error.name}: ${error.value}`);
    }
  }
  return output;
}

function upload(path, content) {
  return new Promise((resolve, reject) => {
    const call = files.write(metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
    call.write({ open: { path } });
    call.write({ data: content });
    call.end();
  });
}

const code = "import random; print(random.random())";
const requestId = randomUUID();
process.stdout.write(`first run: ${await execute(code, requestId)}`);
process.stdout.write(`attached:  ${await execute(code, requestId)}`);
await upload("numbers.csv", Buffer.from("a,b\n1,2\n"));
process.stdout.write(`uploaded:  ${await execute("print(len(open('numbers.csv').read()))", randomUUID())}`);
interpreter.close();
files.close();
