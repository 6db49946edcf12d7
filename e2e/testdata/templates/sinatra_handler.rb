# A handler of the template ruby-http that answers in every way there is, by path.
class Handler
  SEEN = %w[
    REQUEST_METHOD SCRIPT_NAME PATH_INFO REQUEST_PATH REQUEST_URI QUERY_STRING SERVER_PROTOCOL HTTP_VERSION GATEWAY_INTERFACE
    CONTENT_TYPE CONTENT_LENGTH HTTP_X_A HTTP_COOKIE HTTP_ACCEPT rack.version rack.url_scheme rack.run_once
  ].freeze

  def run(body, env)
    case env['PATH_INFO']
    when '/body' then 'alone'
    when '/nil' then nil
    when '/two' then ['two', { 'X-A' => 'b' }]
    when '/three' then ['made', { 'Content-Type' => 'text/plain' }, 201]
    when '/none' then ['none', nil, nil]
    when '/nobody' then [nil, { 'X-A' => 'ü' }, 202]
    when '/empty' then ['', {}, 200]
    when '/204' then ['', { 'X-A' => 'b' }, 204]
    when '/304' then ['', {}, 304]
    when '/418' then ['tea', {}, 418]
    when '/599' then ['odd', {}, 599]
    when '/redirect' then ['', { 'Location' => '/there' }, 302]
    when '/list' then [%w[a b c], {}]
    when '/each' then [Enumerator.new { |out| 3.times { |i| out << i.to_s } }, { 'Content-Type' => 'text/plain' }]
    when '/json' then ['{}', { 'Content-Type' => 'application/json' }]
    when '/bytes' then ["\x00\xff".b, { 'Content-Type' => 'application/octet-stream' }]
    when '/frame' then ['a', { 'X-Frame-Options' => 'DENY' }]
    when '/cookies' then ['a', { 'Set-Cookie' => "a=b\nc=d" }]
    when '/large' then 'x' * 300_000
    when '/raise' then raise 'the reason'
    when '/twice' then body.read + body.tap(&:rewind).read
    when '/lines' then body.each_line.to_a.inspect
    else env.values_at(*SEEN).push(body.read).map { |v| v.is_a?(String) ? v.b : v }.inspect
    end
  end
end
