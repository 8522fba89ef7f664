"""What tests of several folders share: free ports, child processes, a raw wire client, ``klamm serve`` as a process."""
