package http1

// Response is the checked head of a function's answer, final or interim. The zero value is ready
// for Parse. Slices belong to the parsed buffer; after an error or an incomplete head nothing in
// it has a meaning. The reason phrase is not kept: AppendStatusLine writes our own.
type Response struct {
	Status int   // 100 to 599; whether 101 was asked for is for the caller to judge
	Minor  uint8 // 0 for HTTP/1.0, 1 for HTTP/1.1
	Fields []Field

	Length    int64  // body: 0 or more bytes, -1 chunked, -2 until the connection closes
	KeepAlive bool   // the connection may carry another request once the body was read
	Upgrade   []byte // value of Upgrade in a 101 that names it in Connection, else nil

	head head
}

// Parse reads a head from the start of b; toHEAD says that it answers a HEAD request. It returns
// the bytes the head took, or 0 and nil when b ends before the head does, or a *Error. It reuses
// the memory of earlier calls.
//
// Answers with a status of 1xx, 204 or 304 and answers to HEAD have no body, Length is 0. Of
// these, 304 and HEAD keep their Content-Length among what is forwarded; everywhere else framing
// is dropped, because whoever writes the answer writes its framing.
func (r *Response) Parse(b []byte, toHEAD bool, l Limits) (n int, err error) {
	b = l.cut(b)
	i, e := r.line(b)
	if e == nil {
		r.Fields, n, e = r.head.scan(b, i, r.Fields[:0], l.Fields, hopByHop)
	}
	switch e {
	case nil:
	case ErrHeader:
		return 0, ErrAnswer
	case ErrHeaderCount:
		return 0, ErrAnswerSize
	default:
		return refuse(e, len(b) >= l.HeadBytes, ErrAnswerSize)
	}
	if !r.judge(toHEAD) {
		return 0, ErrAnswer
	}
	return n, nil
}

// line reads the status line and returns where the fields start.
func (r *Response) line(b []byte) (int, *Error) {
	const pattern = "HTTP/1.0 000" // 0 is any digit
	for i := range len(pattern) {
		if i == len(b) {
			return 0, errMore
		}
		if b[i] != pattern[i] && (pattern[i] != '0' || class[b[i]]&digit == 0) {
			return 0, ErrAnswer
		}
	}
	if b[7] > '1' {
		return 0, ErrAnswer
	}
	r.Minor = b[7] - '0'
	r.Status = int(b[9]-'0')*100 + int(b[10]-'0')*10 + int(b[11]-'0')
	return r.phrase(b, len(pattern))
}

// phrase skips the reason phrase. Its bytes are never used, so only what ends a line matters.
func (r *Response) phrase(b []byte, i int) (int, *Error) {
	if i == len(b) {
		return 0, errMore
	}
	if b[i] != ' ' && b[i] != '\r' {
		return 0, ErrAnswer
	}
	if r.Status < 100 || r.Status > 599 {
		return 0, ErrAnswerStatus
	}
	for i < len(b) && b[i] != '\r' && b[i] != '\n' {
		i++
	}
	return lineEnd(b, i, ErrAnswer)
}

// judge draws the conclusions from a whole head and reports whether they are consistent.
func (r *Response) judge(toHEAD bool) bool {
	o, ok := r.head.options(r.Fields)
	if !ok {
		return false
	}
	r.KeepAlive = o.persistent(r.Minor)
	r.Length, r.Upgrade = -2, nil
	if r.head.has(1<<ContentLength | 1<<TransferEncoding) {
		length, e := r.head.length(r.Fields, r.Minor)
		if e != nil {
			return false
		}
		r.Length = length
	}
	if toHEAD || r.Status < 200 || r.Status == 204 || r.Status == 304 {
		r.noBody(toHEAD)
	}
	if r.Length == -2 {
		r.KeepAlive = false
	}
	if r.Status == 101 {
		r.switching(o)
	}
	return true
}

// noBody treats an answer that ends with its head.
func (r *Response) noBody(toHEAD bool) {
	allowed := r.Status == 304 || toHEAD && r.Status >= 200 && r.Status != 204
	if r.head.has(1<<ContentLength) && allowed {
		r.Fields[r.head.at[ContentLength]].Hop = false
	}
	if !allowed && (r.Length > 0 || r.Length == -1) {
		r.KeepAlive = false // it announced a body it must not have; it may send one
	}
	r.Length = 0
}

// switching finds the protocol that a 101 names.
func (r *Response) switching(o options) {
	r.KeepAlive = false
	if o.upgrade && r.head.has(1<<Upgrade) && r.head.again&(1<<Upgrade) == 0 {
		r.Upgrade = r.Fields[r.head.at[Upgrade]].Value
	}
}
