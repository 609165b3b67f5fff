// Runs a cell, attaches to it again, and uploads a file.
// Environment: SANDBOX_ADDRESS, SANDBOX_SERVER_NAME, SANDBOX_CA_FILE and SANDBOX_TOKEN (docs/grpc.md).
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	pb "example/client/sandboxv1"
)

func main() {
	// The certificate carries the session's name, whatever address the connection has.
	tls, err := credentials.NewClientTLSFromFile(os.Getenv("SANDBOX_CA_FILE"), os.Getenv("SANDBOX_SERVER_NAME"))
	check(err)
	connection, err := grpc.NewClient(os.Getenv("SANDBOX_ADDRESS"), grpc.WithTransportCredentials(tls))
	check(err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("SANDBOX_TOKEN"))
	interpreter := pb.NewInterpreterServiceClient(connection)

	code, requestID := "import random; print(random.random())", rand.Text()
	fmt.Print("first run: ", execute(ctx, interpreter, code, requestID))
	fmt.Print("attached:  ", execute(ctx, interpreter, code, requestID))
	upload(ctx, pb.NewFileServiceClient(connection), "numbers.csv", []byte("a,b\n1,2\n"))
	fmt.Print("uploaded:  ", execute(ctx, interpreter, "print(len(open('numbers.csv').read()))", rand.Text()))
}

// execute returns a cell's output. A request id that the agent knows attaches to the first call: the cell does not run again.
func execute(ctx context.Context, interpreter pb.InterpreterServiceClient, code, requestID string) string {
	stream, err := interpreter.Execute(ctx, &pb.ExecuteRequest{Code: code, RequestId: requestID})
	check(err)
	var output []byte
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return string(output)
		}
		check(err)
		for _, event := range response.Events {
			output = append(output, event.GetOutput().GetData()...)
			if failure := event.GetError(); failure != nil {
				log.Fatalf("%s: %s", failure.Name, failure.Value)
			}
		}
	}
}

func upload(ctx context.Context, files pb.FileServiceClient, path string, content []byte) {
	stream, err := files.Write(ctx)
	check(err)
	check(stream.Send(&pb.WriteRequest{Part: &pb.WriteRequest_Open{Open: &pb.WriteOpen{Path: path}}}))
	check(stream.Send(&pb.WriteRequest{Part: &pb.WriteRequest_Data{Data: content}}))
	_, err = stream.CloseAndRecv()
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
