# A handler of the classic Ruby template that answers in every way there is, by what it gets.
class Handler
  def run(req)
    case req
    when 'print' then print 'printed;'; puts 'line'; $stdout.write('more'); 'returned'
    when 'none', 'later' then nil
    when 'empty' then ''
    when 'child' then system('echo of a child'); 5
    when 'exit 0' then print 'so far'; exit
    when 'exit 3' then puts 'lost'; exit 3
    when 'raise', 'throw', 'reject' then puts 'lost'; raise 'the reason'
    when 'html' then '<html>a</html>'
    when 'set' then ENV['MINE'] = ENV['MINE'].to_s + 'x'
    when 'env' then ENV.select { |k, _| k.start_with?('Http_') && k !~ /Http_(Host|Accept_Encoding|User_Agent|Connection|X_)/ }.sort.map { |k, v| "#{k}=#{v}" }
    when 'binary' then "\x00\xff"
    when 'object' then { a: [1] }
    when 'number' then 5
    when 'error' then warn 'the reason'; 'fine'
    when 'promise' then [1, [nil, 'a'], "b\n"]
    else req.inspect + req.encoding.to_s
    end
  end
end
