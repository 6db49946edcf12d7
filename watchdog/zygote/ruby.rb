# The Ruby side of a zygote: a process that has compiled a script and loaded what it requires, and forks for each request.
# python.py says what the commands are. A child ends as any Ruby program does, so it tells no exit code.
require 'socket'

control = BasicSocket.for_fd(3)
file = IO.for_fd(4)
file.close
wanted, _, waitid, _, script, *arguments = ARGV
ARGV.replace(arguments)
threads = Dir.children('/proc/self/task').size
path = File.expand_path(script)
code = RubyVM::InstructionSequence.compile(File.read(script), script, File.realpath(path), 1)
$0 = script

if wanted == 'preload' # failures are for the script to meet
  File.foreach(script) do |line|
    break if line == "__END__\n"
    next unless line =~ /\A(require|require_relative)[ (]\s*['"]([^'"]+)['"]/

    begin
      $1 == 'require' ? require($2) : require(File.join(File.dirname(path), $2))
    rescue Exception # rubocop:disable Lint/RescueException
      nil
    end
  end
end

# Where in memory the environment entry lies by which fnpod knows the descendants of a process.
place = begin
  at = ("\0" + File.binread('/proc/self/environ')).index("\0FNPOD_CHILD=")
  at && File.binread('/proc/self/stat').rpartition(')').last.split[47].to_i + at
rescue SystemCallError
  nil
end

ended = lambda do |pid| # Process.wait would collect it
  info = "\0" * 128
  verbose, $VERBOSE = $VERBOSE, nil
  syscall(waitid.to_i, 1, pid, [info].pack('P').unpack1('J'), 0x01000005, 0) # P_PID, WEXITED | WNOHANG | WNOWAIT
  $VERBOSE = verbose
  how, found, _, status = info.unpack('x8lx4lll')
  found.zero? ? '?' : "#{how == 1 ? 'exit' : 'signal'} #{status}"
end

GC.start
$stdout.flush
control.send("ready #{threads}", 0)
files = nil
loop do
  command, _, _, *rights = control.recvmsg(4096, 0, scm_rights: true)
  word, text = command.to_s.split(' ', 2)
  case word
  when 'fork'
    files = rights.flat_map { |r| r.unix_rights || [] }
    begin
      pid = fork
    rescue SystemCallError => e
      pid = -e.errno
    end
    if pid.nil?
      control.close
      Process.setpgid(0, 0)
      begin
        File.open('/proc/self/mem', 'r+b') { |f| f.pwrite(text, place) } if place
      rescue SystemCallError
        nil
      end
      ENV.store(*text.split('=', 2))
      [$stdin, $stdout, $stderr].zip(files[1..]) do |stream, end_of_ours|
        sync = stream.sync # reopen takes it from the other one
        stream.reopen(end_of_ours)
        stream.sync = sync
      end
      files[1..].each(&:close)
      files[0].close_on_exec = true
      variables = files[0].readpartial(1 << 18) rescue exit!(0)
      variables.split("\0").each { |entry| ENV.store(*entry.split('=', 2)) }
      break
    end
    begin
      Process.setpgid(pid, pid) if pid.positive?
    rescue SystemCallError
      nil
    end
    files.each(&:close)
    control.send(pid.to_s, 0)
  when 'how'
    control.send(ended.call(text.to_i), 0)
  when 'end'
    begin
      Process.wait(text.to_i)
    rescue SystemCallError # what it loaded ignores SIGCHLD
      nil
    end
  else
    exit!(0) # fnpod has ended
  end
end

srand
if (at = File.binread(script).index(/^__END__\r?\n/))
  data = File.open(script)
  data.seek(at)
  data.gets
  Object.const_set(:DATA, data)
end
control = file = wanted = waitid = arguments = threads = path = place = ended = files = data = at = nil
code.eval
