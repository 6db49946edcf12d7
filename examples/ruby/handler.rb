# An example function: greets, reads JSON, tells what was uploaded, and streams.

require 'digest'

def handle(req)
  return stream(5) if req.path == '/stream'
  return { hello: req.json.fetch('name', 'world') } if req.method == 'POST' && req.headers['content-type'].to_s.include?('json')
  return { bytes: req.body.bytesize, sha256: Digest::SHA256.hexdigest(req.body) } if %w[POST PUT].include?(req.method)

  "hello #{req.args.fetch('name', ['world'])[0]}\n"
end

# Each item reaches the client when it is given.
def stream(count)
  Enumerator.new do |out|
    count.times do |i|
      out << "part #{i}\n"
      sleep 0.2
    end
  end
end
