# The Ruby side of a warm worker: reads request frames from one pipe, calls the handler, writes answer frames.
#
# Frames are described in docs/worker-protocol.md, the handler contract in docs/handlers.md. Everything is in one module,
# so that the top level is the handler's; JSON and whatever else a request may need is loaded when it is first used.

module Fnpod
  REQUEST, DATA, TRAILERS, CANCEL, WINDOW, DRAIN, EXIT, PING = 1, 2, 3, 4, 5, 7, 8, 9
  HELLO, READY, INIT_ERROR, RESPONSE, ERROR, PONG, BYE = 0x11, 0x12, 0x13, 0x21, 0x22, 0x29, 0x2F
  LANE, MORE = 1, 2
  INLINE, PIECE, CREDIT, LIMIT = 8 << 10, 64 << 10, 256 << 10, 1 << 20
  HEADER = 'VVCCvV' # meta length, body length, type, flags, code, id

  TEXT = "content-type\0text/plain; charset=utf-8"
  BINARY = "content-type\0application/octet-stream"
  EXPECTED = 'a String, nil, Hash, Array, {status:, headers:, body:}, Fnpod::Response, or something with each'

  # Request headers: names in any case; the values of a repeated name joined.
  class Headers < Hash
    def self.of(fields)
      headers = new { |all, name| (lower = name.to_s.downcase) == name ? nil : all[lower] }
      6.step(fields.length - 2, 2) do |i|
        name, value = fields[i], fields[i + 1]
        before = headers[name]
        headers[name] = before ? before + (name == 'cookie' ? '; ' : ', ') + value : value
      end
      headers
    end
  end

  # One request. Its parts are decoded when they are first asked for.
  class Request
    def initialize(raw, stop, number)
      @raw = raw # the frame; its meta block ends at @stop, an inline body follows
      @stop = stop
      @number = number
      @at = Process.clock_gettime(Process::CLOCK_REALTIME)
    end

    attr_reader :number
    attr_writer :body

    # The method of the request; with a name, Ruby's own Object#method.
    def method(*name)
      name.empty? ? fields[0] : super
    end

    def path
      fields[1]
    end

    def query
      fields[2]
    end

    def scheme
      fields[3].partition(' ')[0]
    end

    def host
      fields[3].partition(' ')[2]
    end

    def peer
      fields[4]
    end

    def id
      headers['x-request-id'] || @number.to_s
    end

    # The body, as binary String.
    def body
      @body ||= @raw.byteslice(@stop, @raw.bytesize)
    end

    def headers
      @headers ||= Headers.of(fields)
    end

    # All values of each name, in order.
    def headers_all
      all = {}
      6.step(fields.length - 2, 2) { |i| (all[fields[i]] ||= []) << fields[i + 1] }
      all
    end

    # The query parsed: a Hash of Arrays.
    def args
      @args ||= begin
        require 'uri'
        URI.decode_www_form(query).each_with_object({}) { |(name, value), all| (all[name] ||= []) << value }
      end
    end

    # When the answer is wanted, as Time; nil without a deadline.
    def deadline
      left = fields[5]
      left.empty? ? nil : Time.at(@at + left.to_i / 1000.0)
    end

    # Seconds until the deadline, never below 0; nil without one.
    def remaining
      deadline && [deadline - Time.now, 0.0].max
    end

    # The body as UTF-8, decoded from the charset of its content type.
    def text
      charset = headers['content-type'].to_s[/charset\s*=\s*"?([^\s;"]+)/i, 1] || 'UTF-8'
      body.dup.force_encoding(charset).encode(Encoding::UTF_8)
    end

    # The body parsed as JSON; raises JSON::ParserError when it is not.
    def json
      require 'json'
      JSON.parse(body.dup.force_encoding(Encoding::UTF_8))
    end

    def inspect
      "#<Request #{method} #{path}>"
    end

    private

    def fields # six strings, then names and values
      @fields ||= begin
        meta = @raw.byteslice(16, @stop - 16)
        meta = meta.force_encoding(meta.ascii_only? ? Encoding::UTF_8 : Encoding::ISO_8859_1)
        meta.encode(Encoding::UTF_8).split("\0", -1)
      end
    end
  end

  # An answer with status and headers; headers is a Hash or an Array of pairs.
  class Response
    attr_reader :body, :status, :headers

    def initialize(body = nil, status = nil, headers = nil)
      @body, @status, @headers = body, status, headers
    end
  end

  # The handler returned something that is no answer.
  class UnusableResult < TypeError; end

  # The handler's file lacks the method.
  class LookupError < StandardError; end

  # The parent has no use for the answer any more.
  class Cancelled < StandardError; end

  # The worker's time is over: it ends as any Ruby program does.
  class Leave < Exception; end

  # Worker is the conversation with the parent. A handler has no business here.
  class Worker
    def initialize
      @rest = ''.b     # bytes read but not looked at yet
      @deferred = ''.b # frames that came in the middle of a request and wait until it is answered
      @answering = nil # id of the request that the handler has
      @frame = ''.b
    end

    def run
      file, name = settings
      name = function if name.empty?
      say(HELLO, 1, 'language', 'ruby', 'runtime', RUBY_VERSION, 'pid', Process.pid.to_s, 'features', 'lane,stream')
      start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      handle = guarded { load_handler(file, name) }
      init_ms = ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - start) * 1000).round
      say(READY, 1, 'handler', "#{File.basename(file)}:#{name}", 'init_ms', init_ms.to_s)
      serve(handle)
    rescue Leave
      exit(0)
    rescue Errno::EPIPE, Errno::EIO => e
      die("pipe: #{e.message}")
    end

    private

    # The handler's name, unless it is said.
    def function
      'handle'
    end

    # Takes the settings out of the environment, so that neither the handler nor its children see them.
    def settings
      @told = env = {}
      ENV.keys.each { |key| env[key[13..]] = ENV.delete(key) if key.start_with?('FNPOD_WORKER_') }
      begin
        first, last = env.fetch('PROTOCOL').split('-').map { |s| Integer(s) }
        input, output = env.fetch('FDS').split(',').map { |s| Integer(s) }
        lane, @lane_in, @lane_out = env.fetch('LANE', '-1,0,0').split(',').map { |s| Integer(s) }
        file, _, name = env.fetch('HANDLER').rpartition(':')
        raise ArgumentError, env.inspect unless last && output && @lane_out
      rescue KeyError, ArgumentError => e
        abort("fnpod: this file is started by fnpod as a worker (#{e.message})")
      end
      abort("fnpod: the worker speaks protocol 1, not #{env['PROTOCOL']}") unless (first..last).cover?(1)
      @in = open_fd(input, 'rb')
      @out = output == input ? @in : open_fd(output, 'wb')
      @lane = open_fd(lane, 'r+b') if lane >= 0
      [3, 4, 5, 6].each { |fd| hide(fd) }
      leave_children_out
      Signal.trap('TERM', 'SYSTEM_DEFAULT') # as an exception it could be rescued
      $stdout.sync = true
      [file, name]
    end

    def open_fd(fd, mode)
      io = IO.for_fd(fd, mode)
      io.sync = true
      io
    end

    def hide(fd)
      IO.for_fd(fd, autoclose: false).close_on_exec = true
    rescue SystemCallError, ArgumentError
      nil # it is not open
    end

    # A process forked by the handler must neither hold nor speak on the worker's pipes.
    def leave_children_out
      return unless Process.respond_to?(:_fork)
      mine = [@in, @out]
      Process.singleton_class.prepend(Module.new do
        define_method(:_fork) do
          pid = super()
          mine.each { |io| io.reopen(IO::NULL, io.equal?(mine[0]) ? 'rb' : 'wb') } if pid.zero?
          pid
        end
      end)
    end

    # Loads the file and returns its handler, after init.
    def load_handler(file, name)
      $LOAD_PATH.unshift(File.dirname(file))
      own = load_file(file)
      handle = find(file, name, own)
      TOPLEVEL_BINDING.receiver.send(:init) if own.include?(:init) && handle.name != :init
      handle
    end

    # Returns the names of the methods that are new at the top level.
    def load_file(file)
      raise Errno::ENOENT, "cannot read the handler: #{file}" unless File.exist?(file)
      raise Errno::EISDIR, "cannot read the handler: #{file}" if File.directory?(file)
      before = Object.private_instance_methods(false)
      require(file)
      Object.private_instance_methods(false) - before + (TOPLEVEL_BINDING.receiver.singleton_methods(false) - %i[inspect to_s])
    end

    def find(file, name, own)
      *modules, last = name.split('.').map(&:to_sym)
      unless modules.any? ? Object.const_defined?(modules.join('::')) : own.include?(last)
        raise LookupError, "#{File.basename(file)} has no method '#{name}'; it has #{own.empty? ? 'none at all' : own.sort.join(', ')}"
      end
      (modules.any? ? Object.const_get(modules.join('::')) : TOPLEVEL_BINDING.receiver).method(last)
    end

    def guarded
      yield
    rescue Leave
      raise
    rescue Exception => e
      send_error(INIT_ERROR, 0, 0, e)
      $stdout.flush
      exit!(1)
    end

    # Frames in.

    # Returns the next whole request and deals with everything that comes before it.
    def next_request
      loop do
        meta, size, kind, flags, number, raw = frame
        unless kind == REQUEST
          control(kind)
          next
        end
        req = Request.new(raw, 16 + meta, number)
        if flags & LANE != 0
          req.body = from_lane(size)
        elsif flags & MORE != 0
          begin
            req.body = gather(number, req.body)
          rescue Cancelled => e
            send_error(ERROR, 500, number, e)
            next
          end
        end
        @answering = number
        return req
      end
    end

    # Reads one frame.
    def frame
      data = @rest.empty? ? read_more : @rest
      data << read_more(data) while data.bytesize < 16
      meta, size, kind, flags, _, number = data.unpack(HEADER)
      inline = flags & LANE == 0 ? size : 0
      die("frame too long: #{meta} bytes of meta, #{inline} of body") if meta > LIMIT || inline > LIMIT
      need = 16 + meta + inline
      data << read_more(data) while data.bytesize < need
      if data.bytesize == need
        @rest = ''.b
      else
        @rest = data.byteslice(need, data.bytesize)
        data = data.byteslice(0, need)
      end
      [meta, size, kind, flags, number, data]
    end

    def read_more(have = '')
      @in.sysread(65_536)
    rescue EOFError
      die('request pipe ended inside a frame') unless have.empty?
      raise Leave
    end

    # A frame between two requests. What belongs to a request that is answered already came late and is ignored.
    def control(kind)
      case kind
      when PING then pong
      when DRAIN
        say(BYE, 0)
        raise Leave
      when EXIT then raise Leave
      when DATA, TRAILERS, CANCEL, WINDOW then nil
      else die(format('unknown frame type 0x%02x', kind)) if kind < 0x80
      end
    end

    # Collects a body sent in pieces; the parent may send on as pieces are taken.
    def gather(number, body)
      taken = 0
      loop do
        kind, flags, data = own_frame(number)
        if kind == DATA
          body << data
          taken += data.bytesize
          break if flags & MORE == 0
          if taken >= CREDIT / 2
            put([0, 4, WINDOW, 0, 0, number, taken].pack("#{HEADER}V"))
            taken = 0
          end
        elsif kind == TRAILERS
          break
        end
      end
      body
    ensure
      resume
    end

    # Reads one frame; returns it if it belongs to the request: others wait until that is answered.
    def own_frame(number)
      meta, _, kind, flags, other, raw = frame
      if kind == PING
        pong
      elsif other != number
        @deferred << raw
      elsif kind == CANCEL
        raise Cancelled, 'the request was cancelled'
      elsif [DATA, TRAILERS, WINDOW].include?(kind)
        return kind, flags, raw.byteslice(16 + meta, raw.bytesize)
      elsif kind < 0x80
        die(format('unexpected frame type 0x%02x in request %d', kind, number))
      end
      nil
    end

    def resume
      return if @deferred.empty?
      @rest = @deferred << @rest
      @deferred = ''.b
    end

    def pong
      kib = File.read('/proc/self/status')[/^VmRSS:\s+(\d+)/, 1].to_i
      say(PONG, 0, 'rss', (kib * 1024).to_s, 'in_flight', @answering ? '1' : '0')
    end

    def from_lane(size)
      die("body of #{size} bytes in a lane of #{@lane_in}") if size > @lane_in
      size.zero? ? ''.b : @lane.pread(size, 0)
    end

    # Frames out.

    def put(data)
      done = @out.syswrite(data)
      done += @out.syswrite(data.byteslice(done, data.bytesize)) while done < data.bytesize
    end

    def say(kind, code, *pairs)
      meta = pairs.join("\0").b
      put([meta.bytesize, 0, kind, 0, code, 0].pack(HEADER) << meta)
    end

    # Answers.

    # Runs requests one after the other: one read and one write each, as long as they are small and whole.
    def serve(handle)
      buffer = String.new(capacity: 65_536)
      while true
        data = @rest.empty? ? read_into(buffer) : ''
        stop, size, kind, number = data.unpack('V4') # type, flags and code as one
        if kind == REQUEST && data.bytesize == 16 + stop + size
          req = Request.new(data, 16 + stop, @answering = number)
        else
          @rest = data unless data.empty?
          req = next_request
        end
        answer_one(handle, req, @answering)
        req = data = nil # nothing of a request outlives it
      end
    end

    # Returns what was read as a string of its own; the buffer is used again.
    def read_into(buffer)
      @in.sysread(65_536, buffer)
      ''.b << buffer
    rescue EOFError
      raise Leave
    end

    def answer_one(handle, req, number)
      result = handle.call(req)
      if result.instance_of?(String) && result.bytesize <= INLINE && result.encoding == Encoding::UTF_8
        put([TEXT.bytesize, result.bytesize, RESPONSE, 0, 200, number].pack(HEADER, buffer: @frame.clear) << TEXT << result.b)
      else
        answer(number, result)
      end
    rescue Leave
      raise
    rescue Exception => e
      send_error(ERROR, 500, number, e)
    ensure
      @answering = nil
    end

    # Sends whatever a handler may return.
    def answer(number, result)
      status, pairs, implied, body = render(result)
      return stream(number, status, pairs, body) if implied.nil?
      answer_bytes(number, status, meta_of(pairs, implied), body)
    end

    # Returns status, checked header pairs, the header that the body implies, and the body; for a stream that header is nil.
    def render(result)
      status = headers = nil
      if result.is_a?(Response)
        result, status, headers = result.body, result.status, result.headers
      elsif answer?(result)
        result, status, headers = result[:body], result[:status], result[:headers]
      end
      status ||= result.nil? ? 204 : 200
      raise UnusableResult, "handler returned #{a(status)} as status; expected an Integer" unless status.is_a?(Integer)
      raise UnusableResult, "handler returned status #{status}; expected 200 to 599" unless status.between?(200, 599)
      [status, pairs_of(headers), *payload(result)]
    end

    # A Hash of :status, :headers and :body, with no other keys, that has a body or an Integer as status.
    def answer?(value)
      value.instance_of?(Hash) && !value.empty? && (value.keys - %i[status headers body]).empty? &&
        (value.key?(:body) || value[:status].is_a?(Integer))
    end

    def payload(result)
      case result
      when nil then ['', '']
      when String then bytes_of(result)
      when Hash, Array then ["content-type\0application/json", encode_json(result)]
      when IO then [nil, chunks_of(result)]
      else
        raise UnusableResult, "handler returned #{a(result)}; expected #{EXPECTED}" unless result.respond_to?(:each)
        [nil, result]
      end
    end

    # Returns the content type that a String implies, and its bytes.
    def bytes_of(text)
      return [BINARY, text] if text.encoding == Encoding::BINARY
      [TEXT, text.encode(Encoding::UTF_8).b]
    end

    def encode_json(value)
      require 'json'
      JSON.generate(value).b
    rescue StandardError => e
      raise UnusableResult, "handler returned #{a(value)} that is not JSON: #{e.message}"
    end

    # Reads an open file in pieces and closes it.
    def chunks_of(file)
      Enumerator.new do |out|
        file.binmode
        while (part = file.read(PIECE))
          out << part
        end
      ensure
        file.close
      end
    end

    # Returns checked name, value, name, value; an Array as value repeats the name.
    def pairs_of(headers)
      return [] if headers.nil?
      raise UnusableResult, "handler returned #{a(headers)} as headers; expected a Hash" unless headers.respond_to?(:each_entry)
      pairs = []
      headers.each do |name, values|
        name = field(name.is_a?(Symbol) ? name.to_s.tr('_', '-') : name, 'name').downcase
        raise UnusableResult, "handler returned a header with the name #{name.inspect}" unless name.match?(/\A[!#$%&'*+\-.^_`|~0-9a-z]+\z/n)
        (values.is_a?(Array) ? values : [values]).each do |value|
          value = field(value, "value of #{name}")
          raise UnusableResult, "handler returned a line break or NUL in the header #{name}" if value.match?(/[\r\n\0]/n)
          pairs << name << value
        end
      end
      pairs
    end

    def field(value, what)
      value = value.to_s if value.is_a?(Integer) || value.is_a?(Symbol)
      raise UnusableResult, "handler returned #{a(value)} as header #{what}; expected a String" unless value.is_a?(String)
      value.encoding == Encoding::BINARY ? value : value.encode(Encoding::ISO_8859_1).b
    rescue EncodingError
      raise UnusableResult, "handler returned a header #{what} with characters beyond latin-1"
    end

    # Joins header pairs; the handler's content type wins over the implied one.
    def meta_of(pairs, implied)
      pairs = implied.split("\0") + pairs unless implied.empty? || pairs.each_slice(2).any? { |name, _| name == 'content-type' }
      meta = pairs.join("\0")
      raise UnusableResult, "handler returned #{meta.bytesize} bytes of headers; the limit is #{LIMIT}" if meta.bytesize > LIMIT
      meta.b
    end

    def answer_bytes(number, status, meta, body)
      size = body.bytesize
      if size <= INLINE
        put([meta.bytesize, size, RESPONSE, 0, status, number].pack(HEADER) << meta << body)
      elsif size <= @lane_out
        done = 0
        done += @lane.pwrite(done.zero? ? body : body.byteslice(done, size), @lane_in + done) while done < size
        put([meta.bytesize, size, RESPONSE, LANE, status, number].pack(HEADER) << meta)
      else
        pairs = meta.split("\0").each_slice(2).reject { |name, _| name == 'content-length' }
        meta = (pairs.flatten << 'content-length' << size.to_s).join("\0").b
        @credit = CREDIT
        put(more(number, status, meta))
        spend(number, body)
        finish(number)
      end
    ensure
      resume
    end

    def more(number, status, meta)
      [meta.bytesize, 0, RESPONSE, MORE, status, number].pack(HEADER) << meta
    end

    def finish(number)
      put([0, 0, DATA, 0, 0, number].pack(HEADER))
    end

    # Sends data in pieces and waits for the parent where it must.
    def spend(number, data)
      at = 0
      while at < data.bytesize
        wait(number) while @credit <= 0
        n = [data.bytesize - at, PIECE, @credit].min
        put([0, n, DATA, MORE, 0, number].pack(HEADER) << data.byteslice(at, n))
        at += n
        @credit -= n
      end
    end

    def wait(number)
      kind, _, data = own_frame(number)
      return unless kind == WINDOW
      die("WINDOW with #{data.bytesize} bytes") unless data.bytesize == 4
      @credit += data.unpack1('V')
    end

    # Sends the items of something with each as they come. The head goes with the first, so that an early error is a 500.
    def stream(number, status, pairs, items)
      head = true
      @credit = CREDIT
      items.each do |item|
        raise UnusableResult, "handler yielded #{a(item)}; expected a String" unless item.is_a?(String)
        implied, data = bytes_of(item)
        put(more(number, status, meta_of(pairs, implied))) if head
        head = false
        spend(number, data)
        wait(number) while !@rest.empty? || IO.select([@in], nil, nil, 0)
      end
      return finish(number) unless head
      meta = meta_of(pairs, '')
      put([meta.bytesize, 0, RESPONSE, 0, status, number].pack(HEADER) << meta)
    ensure
      items.close if items.respond_to?(:close) && !items.is_a?(Enumerator)
      resume
    end

    # Errors.

    # Ends the worker at once: the pipes cannot be trusted any more.
    def die(why)
      $stderr.write("fnpod worker: #{why}\n")
      $stdout.flush
      exit!(1)
    end

    def send_error(kind, code, number, error)
      name, message, trace = describe(error)
      meta = ['type', name, 'message', message].map { |s| s.gsub("\0", '\\\\0') }.join("\0").b
      put([meta.bytesize, trace.bytesize, kind, 0, code, number].pack(HEADER) << meta << trace)
    end

    # Returns type, message and backtrace of an exception, without the lines of the wrapper.
    def describe(error)
      name = error.is_a?(Cancelled) ? 'cancelled' : error.class.name.to_s.delete_prefix('Fnpod::')
      message = begin
        clean(error.message)
      rescue Exception
        '(its message failed)'
      end
      message = "the handler called exit(#{error.status})" if error.is_a?(SystemExit)
      trace = "#{name}: #{message}\n"
      trace = trace_of(error, name, message) unless error.is_a?(Cancelled) || error.is_a?(UnusableResult)
      message = "#{message[0, 1000]}…" if message.length > 1000
      trace = "#{trace[0, 1300]}\n[…]\n#{trace[-1300..]}" if trace.bytesize > 8000
      [name, message, trace.b]
    end

    def trace_of(error, name, message)
      trace = ''
      seen = []
      while error && seen.length < 8 && !seen.include?(error)
        seen << error
        lines = Array(error.backtrace).reject { |line| line.start_with?("#{__FILE__}:") || line.start_with?('<internal:') }
        trace << 'caused by: ' if seen.length > 1
        trace << (lines.empty? ? '' : "#{lines.shift}: ") << "#{name}: #{message}\n"
        lines.each { |line| trace << "\tfrom #{clean(line)}\n" }
        error = error.cause
        name, message = error.class.name.to_s, clean(error.message) if error
      end
      trace
    rescue Exception
      "#{name}: #{message}\n"
    end

    def clean(text)
      text.to_s.dup.force_encoding(Encoding::UTF_8).scrub('?')
    end

    # Names the type of a value with its article.
    def a(value)
      return 'nil' if value.nil?
      name = value.class.name || 'object'
      (name.match?(/\A[AEIOU]/) ? 'an ' : 'a ') + name
    end
  end
end

Fnpod::Worker.new.run
