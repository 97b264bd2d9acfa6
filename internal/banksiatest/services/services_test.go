package services

import (
	"io"
	"net"
	"strings"
	"testing"
)

func TestProxy(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	cable := Proxy(t, echo.Addr().String())
	say := func(text string) (string, error) {
		c, err := net.Dial("tcp", cable.Address)
		if err != nil {
			return "", err
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			return "", err
		}
		answer := make([]byte, len(text))
		n, err := io.ReadFull(c, answer)
		return string(answer[:n]), err
	}
	works := func() bool { answer, err := say("hello"); return err == nil && answer == "hello" }
	if !works() {
		t.Error("nothing comes through")
	}
	open, err := net.Dial("tcp", cable.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for range 2 {
		cable.Cut()
	}
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("an open connection survived the cut")
	}
	if works() {
		t.Error("something comes through a cut cable")
	}
	cable.Mend()
	if !works() {
		t.Error("nothing comes through the mended cable")
	}
	cut := cable.CutAfter(1000)
	if answer, err := say(strings.Repeat("x", 2000)); err == nil || len(answer) > 1000 {
		t.Errorf("%d bytes came through, %v", len(answer), err)
	}
	<-cut
	cable.Mend()
	if !works() {
		t.Error("nothing comes through after the second cut")
	}
}

func TestS3(t *testing.T) {
	t.Parallel()
	endpoint, bucket, _, _ := S3(t)
	again, other, _, _ := S3(t)
	if endpoint != again || bucket == other {
		t.Errorf("%s %s, then %s %s", endpoint, bucket, again, other)
	}
}
