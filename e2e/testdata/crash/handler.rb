# Ways to fail, by path.
def handle(req)
  case req.path
  when '/raise' then raise 'the secret reason'
  when '/exit' then exit 3
  when '/_exit' then exit! 3
  when '/bomb' then system('sh', 'bomb.sh')
  when '/segv' then Process.kill('SEGV', Process.pid)
  when '/kill' then Process.kill('KILL', Process.pid)
  when '/loop' then loop {}
  when '/stdout' then IO.for_fd(1).close
  when '/garbage' then IO.for_fd(4, 'wb', autoclose: false).syswrite("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
  when '/log' then $stdout.syswrite("#{'x' * 1_000_000}\n")
  when '/hog'
    system('prlimit', '--pid', Process.pid.to_s, '--data=400000000')
    all = []
    loop { all << 'x' * 10_000_000 }
  end
  'hello'
end
