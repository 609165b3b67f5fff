import dev.sandboxsessions.proto.v1.ExecuteRequest;
import dev.sandboxsessions.proto.v1.FileServiceGrpc;
import dev.sandboxsessions.proto.v1.InterpreterServiceGrpc;
import dev.sandboxsessions.proto.v1.WriteOpen;
import dev.sandboxsessions.proto.v1.WriteRequest;
import dev.sandboxsessions.proto.v1.WriteResponse;
import com.google.protobuf.ByteString;
import io.grpc.CallCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/**
 * Runs a cell, attaches to it again, and uploads a file.
 * Environment: SANDBOX_ADDRESS, SANDBOX_SERVER_NAME, SANDBOX_CA_FILE and SANDBOX_TOKEN (docs/grpc.md).
 */
public final class Client {
  public static void main(String[] arguments) throws Exception {
    var trust = TlsChannelCredentials.newBuilder().trustManager(new File(System.getenv("SANDBOX_CA_FILE"))).build();
    // The certificate carries the session's name, whatever address the connection has.
    ManagedChannel channel = Grpc.newChannelBuilder(System.getenv("SANDBOX_ADDRESS"), trust)
        .overrideAuthority(System.getenv("SANDBOX_SERVER_NAME")).build();
    var token = new BearerToken(System.getenv("SANDBOX_TOKEN"));
    var interpreter = InterpreterServiceGrpc.newBlockingStub(channel).withCallCredentials(token);
    try {
      String code = "import random; print(random.random())";
      String requestId = UUID.randomUUID().toString();
      System.out.print("first run: " + execute(interpreter, code, requestId));
      System.out.print("attached:  " + execute(interpreter, code, requestId));
      upload(FileServiceGrpc.newStub(channel).withCallCredentials(token), "numbers.csv", "a,b\n1,2\n");
      String count = "print(len(open('numbers.csv').read()))";
      System.out.print("uploaded:  " + execute(interpreter, count, UUID.randomUUID().toString()));
    } finally {
      channel.shutdownNow();
    }
  }

  /** Returns a cell's output. A request id that the agent knows attaches to the first call: the cell does not run again. */
  private static String execute(
      InterpreterServiceGrpc.InterpreterServiceBlockingStub interpreter, String code, String requestId) {
    var output = new ByteArrayOutputStream();
    var request = ExecuteRequest.newBuilder().setCode(code).setRequestId(requestId).build();
    interpreter.execute(request).forEachRemaining(response -> response.getEventsList().forEach(event -> {
      if (event.hasOutput()) {
        output.writeBytes(event.getOutput().getData().toByteArray());
      }
      if (event.hasError()) {
        throw new IllegalStateException(event.getError().getName() + ": " + event.getError().getValue());
      }
    }));
    return output.toString();
  }

  private static void upload(FileServiceGrpc.FileServiceStub files, String path, String content) throws Exception {
    var written = new CompletableFuture<WriteResponse>();
    StreamObserver<WriteRequest> parts = files.write(new StreamObserver<>() {
      public void onNext(WriteResponse response) {
        written.complete(response);
      }

      public void onError(Throwable error) {
        written.completeExceptionally(error);
      }

      public void onCompleted() {}
    });
    parts.onNext(WriteRequest.newBuilder().setOpen(WriteOpen.newBuilder().setPath(path)).build());
    parts.onNext(WriteRequest.newBuilder().setData(ByteString.copyFromUtf8(content)).build());
    parts.onCompleted();
    written.get();
  }

  /** Sends the session's token with each call. */
  private static final class BearerToken extends CallCredentials {
    private final Metadata headers = new Metadata();

    BearerToken(String token) {
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    }

    @Override
    public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
      applier.apply(headers);
    }
  }
}
