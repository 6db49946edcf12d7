# Handlers of Nuclio in a worker: called with context and event, answered as Nuclio's own wrapper answers. This part is put into
# ruby.rb, before its last line, for the contract nuclio. What handlers expect at the top level is there: Response, ByteBuffer,
# Event, Trigger.

require 'date'

class ByteBuffer
  def initialize(bytes)
    @bytes = bytes
  end

  def base64_encode
    [@bytes].pack('m')
  end
end

class KeywordStruct < Struct
  def initialize(**values)
    super(*members.map { |name| values[name] })
  end
end

Response = Struct.new(:body, :headers, :content_type, :status_code, :body_encoding) do
  def initialize(body, headers: {}, content_type: 'text/plain', status_code: 200, body_encoding: 'text')
    super(body, headers, content_type, status_code, body_encoding)
  end
end

Event = KeywordStruct.new(:body, :content_type, :headers, :fields, :id, :method, :path, :url, :timestamp, :trigger, :version)
Trigger = KeywordStruct.new(:class_name, :kind)

class Context
  attr_reader :logger
  attr_accessor :user_data

  def initialize(logger)
    @logger = logger
  end
end

module Fnpod
  # How handlers of Nuclio are found and called.
  module Nuclio
    LOG = 0x23
    MOST_LOG = 64 << 10 # bytes of a line
    MOST_FIELD = 4096   # characters of the field that brings log lines to the client
    LEVELS = %w[debug info warn error].freeze

    # Sends a line of the log.
    def log(level, number, pairs, message)
      meta = pairs.map { |part| part.to_s.gsub("\0", '\\\\0')[0, 16 << 10].b }.join("\0".b)
      body = message.byteslice(0, MOST_LOG)
      put([meta.bytesize, body.bytesize, LOG, 0, level, number].pack(HEADER) << meta << body.b)
    end

    private

    def function
      'handler'
    end

    def load_handler(file, name)
      own = load_file(file)
      handle = find(file, name, own)
      logger = Logger.new(self, @told)
      context = Context.new(logger)
      top = TOPLEVEL_BINDING.receiver
      top.send(:init_context, context) if top.respond_to?(:init_context, true)
      Caller.new(handle, context, logger, @told.key?('NUCLIO_PLATFORM'))
    end

    # The logger of the context. Each call is one line, with fields.
    class Logger
      attr_accessor :number, :records, :least, :trigger # of the event in progress; records are nil unless its client wants them

      def initialize(worker, told)
        @worker = worker
        @number = 0
        @name = "processor.#{told['NUCLIO_TRIGGER_KIND'].to_s.empty? ? 'shared' : told['NUCLIO_TRIGGER_KIND']}.w#{told['INDEX'] || 0}.ruby.logger"
        @processor = told.key?('NUCLIO_PLATFORM')
      end

      LEVELS.each_with_index do |level, rank|
        define_method(level) { |message, **with| say(rank, message, with) }
      end

      private

      def say(level, message, with)
        message = message.to_s.dup.force_encoding(Encoding::UTF_8).scrub
        records << { level: LEVELS[level], time: Time.now.to_f * 1000, name: trigger, message: message, **with } if records && level >= least
        pairs = @processor ? ['logger', @name] : []
        with.each { |name, value| pairs << name << (@processor ? Nuclio.json(value) : value) }
        @worker.log(level, number, pairs, message)
      end
    end

    # Calls the handler with an event for each request.
    class Caller
      def initialize(handle, context, logger, processor)
        @handle, @context, @logger, @processor = handle, context, logger, processor
      end

      def call(req)
        begin
          event = Nuclio.event(req)
        rescue ArgumentError
          return Fnpod::Response.new('Failed to wrap structured cloud event'.b, 500, 'content-type' => 'text/plain; charset=utf-8')
        end
        answer = within(req) do
          Nuclio.answer(@handle.call(@context, event))
        rescue StandardError => e
          raise unless @processor
          failed(e)
        end
        answer
      end

      private

      # Runs an event, whose client may want the lines of its log.
      def within(req)
        @logger.number = req.number
        level = req.headers['x-nuclio-log-level']
        if level
          @logger.records, @logger.trigger = [], req.scheme.partition('/')[2]
          @logger.least = LEVELS.index(level.downcase) || 0
        end
        answer = yield
        add_lines(answer) if level
        answer
      ensure
        @logger.number = 0
        @logger.records = nil
      end

      def add_lines(answer)
        text = Nuclio.json(@logger.records)
        text = text.gsub(/[^\0-~]/) { |c| c.encode(Encoding::UTF_16BE).unpack('n*').map { |n| format('\u%04x', n) }.join }
        if text.bytesize < MOST_FIELD
          answer.headers << ['x-nuclio-logs', text]
        else
          @logger.warn('Logs are too long for a field of the answer')
        end
      end

      def failed(error)
        at, *rest = Array(error.backtrace).reject { |line| line.start_with?("#{__FILE__}:", '<internal:') }
        text = "#{"#{at}: " if at}#{error.message} (#{error.class})\n#{rest.join("\n")}"
        Fnpod::Response.new(text.b, 500, [%w[content-type text/plain]])
      end
    end

    class << self
      def json(value)
        require 'json'
        JSON.generate(value)
      rescue StandardError
        JSON.generate(value.inspect.scrub)
      end

      # Makes the event of a request.
      def event(req)
        return message(req) if req.scheme.start_with?('message/')
        headers = {}
        req.headers_all.each do |name, values|
          headers[name.split('-', -1).map(&:capitalize).join('-')] = wire(name == 'cookie' ? values.join('; ') : values[-1])
        end
        kind = req.scheme.include?('/') ? req.scheme.partition('/')[0] : 'http'
        made = {
          body: req.body, content_type: headers['Content-Type'] || '', headers: headers, fields: fields(req.query), id: uuid, method: wire(req.method),
          path: path(req.path), url: '', timestamp: moment(kind == 'cron' ? 0 : Time.now.to_i), trigger: Trigger.new(kind: kind), version: ''
        }
        if made[:content_type].start_with?('application/cloudevents')
          structured(made)
        elsif headers.key?('Ce-Cloudeventsversion')
          binary(made, headers)
        end
        Event.new(**made)
      end

      # Makes the event of a message of a broker: what is known of it comes as JSON in a field, its body as it is.
      def message(req)
        require 'json'
        facts = JSON.parse(req.headers['fnpod-event'], symbolize_names: true)
        known = facts.slice(:content_type, :fields, :id, :method, :path, :url, :version)
        Event.new(**known, body: req.body, headers: facts[:headers].transform_keys(&:to_s), timestamp: moment(facts[:timestamp]),
                           trigger: Trigger.new(kind: facts[:trigger][:kind]))
      end

      # Returns what can be sent of whatever a handler returned.
      def answer(result)
        result = made(result) unless result.is_a?(::Response)
        status = result.status_code.nil? || result.status_code == 0 ? 200 : result.status_code
        raise TypeError, "status #{status.inspect} of a response is no Integer" unless status.is_a?(Integer)
        raise ArgumentError, "status #{status} cannot be sent: there are 200 to 599" unless status.between?(200, 599)
        type = result.content_type.to_s
        fields = fields_of(result.headers)
        unless type.empty?
          fields.reject! { |name, _| name == 'content-type' }
          fields << ['content-type', clean(type)]
        end
        fields << ['content-type', 'text/plain; charset=utf-8'] if type.empty? && fields.none? { |name, _| name == 'content-type' }
        body = bytes(result)
        Fnpod::Response.new(body.empty? ? nil : body, status, fields)
      end

      private

      # Makes a Response of a result that is none.
      def made(result)
        status = 200
        status, result = result if result.is_a?(Array) && result.size == 2
        case result
        when String then ::Response.new(result, status_code: status)
        when ByteBuffer then ::Response.new(result.base64_encode, status_code: status, body_encoding: 'base64')
        else
          require 'json'
          ::Response.new(result.to_json, status_code: status, content_type: 'application/json')
        end
      end

      def bytes(result)
        body = result.body.nil? ? '' : result.body
        raise TypeError, "the body of a response is #{body.class}, no String" unless body.is_a?(String)
        case result.body_encoding.to_s
        when 'text' then body.encoding == Encoding::BINARY ? body : body.encode(Encoding::UTF_8).b
        when 'base64' then body.delete("\r\n").unpack1('m0')
        else raise ArgumentError, "Unknown body encoding - \"#{result.body_encoding}\""
        end
      end

      UNSENT = %w[content-length transfer-encoding connection date keep-alive upgrade trailer te].freeze

      # Returns what can be sent of a handler's headers: text under names that are tokens.
      def fields_of(headers)
        return [] unless headers.respond_to?(:each_pair)
        headers.each_pair.map { |name, value| [name.to_s.downcase, value] }.select do |name, value|
          value.is_a?(String) && name.match?(/\A[!#$%&'*+\-.^_`|~0-9a-z]+\z/) && !UNSENT.include?(name)
        end.map { |name, value| [name, clean(value)] }
      end

      # Returns a value without line breaks and other control characters.
      def clean(value)
        value.b.gsub(/[\x00-\x08\x0a-\x1f\x7f]/n, ' ').strip
      end

      # Text came as bytes in Latin-1; the handler gets what they mean.
      def wire(text)
        text.ascii_only? ? text : text.encode(Encoding::ISO_8859_1).force_encoding(Encoding::UTF_8)
      end

      def unescaped(text)
        return wire(text) unless text.include?('%')
        text.encode(Encoding::ISO_8859_1).b.gsub(/%(\h\h)/n) { $1.hex.chr }.force_encoding(Encoding::UTF_8)
      end

      def fields(query)
        query.split('&').each_with_object({}) do |pair, all|
          next if pair.empty?
          name, _, value = pair.partition('=')
          all[unescaped(name.tr('+', ' '))] = unescaped(value.tr('+', ' '))
        end
      end

      def path(text)
        return wire(text) unless text.include?('//') || text.include?('/.') || text.include?('%')
        kept = []
        parts = unescaped(text).split('/', -1)
        parts.each do |part|
          if part == '..' then kept.pop
          elsif part != '' && part != '.' then kept << part
          end
        end
        "/#{kept.join('/')}#{'/' if kept.any? && ['', '.', '..'].include?(parts[-1])}"
      end

      def uuid
        format('%08x-%04x-4%03x-%04x-%s', *Random.urandom(16).unpack('NnnnH12').then { |a, b, c, d, e| [a, b, c & 0xfff, d & 0x3fff | 0x8000, e] })
      end

      def moment(seconds)
        Time.at(seconds).utc.to_datetime
      end

      # Reads a time as RFC 3339 has it, to the second.
      def moment_of(text)
        text.to_s.empty? ? moment(0) : moment(DateTime.rfc3339(text.to_s).to_time.to_i)
      end

      # Takes a cloud event of draft 0.1 out of the body.
      def structured(made)
        require 'json'
        facts = begin
          JSON.parse(made[:body].dup.force_encoding(Encoding::UTF_8))
        rescue JSON::ParserError => e
          raise ArgumentError, e.message
        end
        raise ArgumentError, 'no object' unless facts.is_a?(Hash)
        data = facts['data']
        made.update(
          id: facts['eventID'] || '', trigger: Trigger.new(kind: facts['source'] || ''), timestamp: moment_of(facts['eventTime']),
          content_type: facts['contentType'] || '', version: facts['cloudEventsVersion'] || '', headers: facts['extensions'] || {},
          body: data.is_a?(String) ? data.b : data
        )
      end

      # Takes what a cloud event of draft 0.1 has in its header.
      def binary(made, headers)
        made.update(
          id: headers['Ce-Eventid'] || '', trigger: Trigger.new(kind: headers['Ce-Source'] || ''), version: headers['Ce-Cloudeventsversion'],
          timestamp: begin
            moment_of(headers['Ce-Eventtime'])
          rescue ArgumentError
            moment(0)
          end
        )
      end
    end
  end

  Worker.prepend(Nuclio)
end
