# Handlers of OpenFaaS' Ruby templates in a worker: an object of the class Handler, whose run answers as it does behind
# Sinatra, or with what it prints. This part is put into ruby.rb, before its last line, for the contracts openfaas-http and
# openfaas-classic. Nothing has to be installed for it.

module Fnpod
  # How the handlers of templates are found.
  module OpenFaaS
    private

    def function
      'Handler'
    end

    def load_handler(file, name)
      load_file(file)
      path = name.gsub('.', '::')
      raise LookupError, "#{File.basename(file)} has no class '#{name}'" unless Object.const_defined?(path)
      type = Object.const_get(path)
      raise LookupError, "the class '#{name}' of #{File.basename(file)} has no method 'run'" unless type.is_a?(Class) && type.method_defined?(:run)
      (@told['CONTRACT'] == 'openfaas-classic' ? Classic : Http).new(type)
    end

    # The template ruby-http: run(body, env) returns body, headers and status.
    class Http
      HTML = 'text/html;charset=utf-8'
      VERBS = %w[GET HEAD POST PUT DELETE].freeze

      def initialize(type)
        require 'stringio'
        @handler = type.new
      end

      def call(req)
        return answer("<h1>Not Found</h1>\n", { 'x-cascade' => 'pass' }, 404) unless VERBS.include?(req.method)
        body, headers, status = @handler.run(StringIO.new(req.body), environment(req))
        answer(body, headers, status || 200)
      end

      private

      # The environment as Rack has it: texts are bytes.
      def environment(req)
        name, _, port = req.host.partition(/:(?=\d*\z)/)
        path = OpenFaaS.bytes(req.path)
        query = OpenFaaS.bytes(req.query)
        env = {
          'REQUEST_METHOD' => req.method, 'SCRIPT_NAME' => '', 'PATH_INFO' => path, 'REQUEST_PATH' => path, 'QUERY_STRING' => query,
          'REQUEST_URI' => query.empty? ? path : "#{path}?#{query}", 'SERVER_NAME' => name.empty? ? 'localhost' : name,
          'SERVER_PORT' => port.empty? ? '80' : port, 'SERVER_PROTOCOL' => 'HTTP/1.1', 'HTTP_VERSION' => 'HTTP/1.1', 'REMOTE_ADDR' => req.peer,
          'SERVER_SOFTWARE' => 'fnpod', 'GATEWAY_INTERFACE' => 'CGI/1.2', 'rack.version' => [1, 6], 'rack.errors' => $stderr,
          'rack.url_scheme' => req.scheme, 'rack.multithread' => false, 'rack.multiprocess' => true, 'rack.run_once' => false
        }
        req.headers.each do |field, value|
          key = field.upcase.tr('-', '_')
          key = "HTTP_#{key}" unless %w[CONTENT_TYPE CONTENT_LENGTH].include?(key)
          env[key] = OpenFaaS.bytes(value)
        end
        env['HTTP_HOST'] ||= req.host unless req.host.empty?
        env
      end

      # What Sinatra makes of the three.
      def answer(body, headers, status)
        raise UnusableResult, "handler returned an object as headers that is no Hash" unless headers.nil? || headers.respond_to?(:each_pair)
        fields = {}
        headers&.each_pair do |name, value|
          values = value.is_a?(Array) ? value : value.to_s.split("\n", -1)
          fields[name.to_s.downcase] = values.empty? ? '' : values.map { |v| v.to_s.b }
        end
        if [204, 304].include?(status)
          fields.delete('content-type')
          return Response.new(nil, status, protected(fields))
        end
        fields['content-type'] ||= HTML
        Response.new(content(body), status, protected(fields))
      end

      # Adds what Sinatra says to browsers, unless the handler says otherwise.
      def protected(fields)
        if Array(fields['content-type'])[0].to_s.match?(%r{\Atext/html|\Aapplication/xhtml})
          fields['x-xss-protection'] ||= '1; mode=block'
          fields['x-frame-options'] ||= 'SAMEORIGIN'
        end
        fields['x-content-type-options'] ||= 'nosniff'
        fields
      end

      def content(body)
        case body
        when nil then nil
        when String then body.empty? ? nil : body.b
        when Array
          wrong = body.find { |part| !part.is_a?(String) }
          raise UnusableResult, "handler returned a body with #{wrong.class} in it; expected Strings" if wrong
          body.join.b
        when Hash then raise UnusableResult, 'handler returned a Hash as body; expected a String, an Array of them or something else with each'
        else
          raise UnusableResult, "handler returned #{body.class} as body; expected a String, or something with each" unless body.respond_to?(:each)
          body
        end
      end
    end

    # The template ruby: a text in, and what is printed out. What is a process for each request there starts anew here: the
    # object, variables, working directory and output.
    class Classic
      METHODS = %w[DELETE GET PATCH POST PUT].freeze

      def initialize(type)
        @type = type
        @home, @own, @log = Dir.pwd, ENV.to_h, STDOUT.dup
      end

      def call(req)
        return Response.new(nil, 405) unless METHODS.include?(req.method)
        ENV.update(OpenFaaS.variables(req)) if ENV.fetch('cgi_headers', 'true') == 'true'
        out = OpenFaaS.memory # one for each call: what a call leaves running writes into no other answer
        body = nil
        begin
          STDOUT.reopen(out)
          run(req.body.force_encoding(Encoding.default_external))
          body = printed(out)
        ensure
          $stderr.write(printed(out)) if body.nil?
          out.close
          Dir.chdir(@home)
          ENV.replace(@own) if ENV.to_h != @own
        end
        kind = ENV['content_type'] || req.headers['content-type'] || (body.empty? ? nil : OpenFaaS.sniffed(body))
        Response.new(body.empty? ? nil : body, 200, kind ? { 'content-type' => kind } : nil)
      end

      private

      def run(text)
        puts @type.new.run(text)
      rescue SystemExit => e
        raise unless e.success?
      end

      # Returns what was printed; from now on it is log again.
      def printed(out)
        $stdout.flush
        $stdout = STDOUT
        STDOUT.flush
        STDOUT.reopen(@log)
        STDOUT.sync = true
        out.pread(out.size, 0)
      end
    end

    class << self
      # Returns the text of a request as the bytes that came.
      def bytes(text)
        text.ascii_only? ? text : text.encode(Encoding::ISO_8859_1).b
      end

      # The variables that the classic watchdog gives to each process.
      def variables(req)
        all = req.headers_all.to_h { |name, values| ["Http_#{name.split('-', -1).map(&:capitalize).join('_')}", values[0]] }
        all.delete('Http_Query')
        all['Http_Method'], all['Http_Path'] = req.method, req.path.gsub(/%(\h\h)/) { $1.hex.chr(Encoding::ISO_8859_1).encode(Encoding::UTF_8) }
        all['Http_Query'] = req.query unless req.query.empty?
        all['Http_Host'] = req.host unless req.host.empty?
        all['Http_Content_Length'] = all['Http_ContentLength'] = req.headers['content-length'] || req.body.bytesize.to_s
        all.transform_values { |value| bytes(value).delete("\0") }
      end

      # Opens a file that is in memory, or else in the folder for temporary files, and has no name.
      def memory
        call = { 'x86_64' => 319, 'aarch64' => 279, 'riscv64' => 279, 'arm' => 385, 'powerpc64le' => 360, 's390x' => 350 }[RUBY_PLATFORM[/\A[^-]+/]]
        File.for_fd(syscall(call, 'fnpod-output', 1), 'w+b')
      rescue SystemCallError, NotImplementedError, TypeError
        require 'tmpdir'
        File.open(Dir.tmpdir, File::RDWR | File::TMPFILE | File::BINARY, 0o600)
      end

      # Gives the type that output looks like: HTML, text or neither.
      def sniffed(body)
        start = body.byteslice(0, 512)
        return 'text/html; charset=utf-8' if start.match?(/\A\s*<(!doctype html|html|head|body|h1|p>|div|table)/in)
        start.match?(/[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]/n) ? 'application/octet-stream' : 'text/plain; charset=utf-8'
      end
    end
  end

  Worker.prepend(OpenFaaS)
end
