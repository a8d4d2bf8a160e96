from source_meetings.__main__ import main

if __name__ == "__main__":
    main()
