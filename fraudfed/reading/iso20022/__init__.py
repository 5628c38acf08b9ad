"""ISO 20022 messages as tables: payments as banks send them to each other.

``xml_stream`` parses a file of any size in little memory and expands nothing, ``pacs008`` makes a
row of each credit transfer, ``messages`` reads files and folders of them.
"""
