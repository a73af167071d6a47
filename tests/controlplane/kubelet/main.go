// A kubelet that forwards ports and does nothing else. A Pod is a program of the node: a file of its name, in a directory for its
// namespace, has the address of the loopback that stands for the Pod's own.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

type pods struct{ directory string }

// PortForward copies between a stream and a port of a Pod, until both sides have ended.
func (p pods) PortForward(ctx context.Context, name string, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	address, err := os.ReadFile(filepath.Join(p.directory, name))
	if err != nil {
		return fmt.Errorf("no sandbox of the pod %s", name)
	}
	host := net.JoinHostPort(strings.TrimSpace(string(address)), strconv.Itoa(int(port)))
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("failed to connect to localhost:%d inside namespace of the pod %s: %w", port, name, err)
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		// What is asked for next would not arrive either.
		connection.Close()
	}()
	if _, err := io.Copy(stream, connection); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func main() {
	listen := flag.String("listen", "", "address and port to listen on")
	certificate := flag.String("tls-cert-file", "", "certificate")
	key := flag.String("tls-private-key-file", "", "its key")
	authority := flag.String("client-ca-file", "", "CA of the API server's client certificate")
	directory := flag.String("pods", "", "directory with NAMESPACE/POD")
	flag.Parse()
	pem, err := os.ReadFile(*authority)
	if err != nil {
		log.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pem)
	pods := pods{*directory}
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		name := r.PathValue("namespace") + "/" + r.PathValue("pod")
		portforward.ServePortForward(w, r, pods, name, "", options, time.Hour, 30*time.Second, portforward.SupportedProtocols)
	})
	server := &http.Server{
		Addr:    *listen,
		Handler: mux,
		TLSConfig: &tls.Config{
			ClientAuth: tls.RequireAndVerifyClientCert,
			ClientCAs:  clients,
			// The upgrade of a connection is of HTTP/1.1.
			NextProtos: []string{"http/1.1"},
		},
	}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}
